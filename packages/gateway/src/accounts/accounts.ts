// Who is calling: the account of a request, as the configuration tells accounts apart (SPEC §3, §14.3).

import type { Clock, Store } from "onceward";
import { type AccountReading, type HeaderList, holdsCredential } from "onceward/http";
import type { AccountConfig } from "../config/config.js";
import { basicAccount } from "./basic.js";
import { cookieAccount } from "./cookie.js";
import { credentialAccount } from "./credential.js";
import { headerAccount } from "./header.js";
import { jwtAccounts } from "./jwt.js";
import type { JwksTiming } from "./jwt-keys.js";
import { openKeyring } from "./keyring.js";

export interface Accounts {
  /** Never rejects for anything that the request holds. Answers at once where nothing has to be fetched. */
  resolve(headers: HeaderList): AccountReading | Promise<AccountReading>;
}

export interface AccountsOptions {
  /** The longest that any route keeps a record, in milliseconds: so long a replaced account key is still accepted. */
  readonly longestRetentionMs: number;
  readonly clock?: Clock;
  readonly jwks?: JwksTiming;
}

/**
 * Makes the resolver of a configuration. Where accounts are digests, the account key is read from the store, or made
 * there by the first gateway.
 *
 * @throws IdempotencyError `config_invalid` (a key that cannot be used), `store_unavailable`, `store_corrupt`.
 */
export async function createAccounts(config: AccountConfig, store: Store, options: AccountsOptions): Promise<Accounts> {
  const keyring = () => openKeyring(store, config.secret, options);
  switch (config.from) {
    case "single": {
      const single: AccountReading = { kind: "account", account: "single:", label: "single" };
      return { resolve: () => single };
    }
    case "jwt":
      return { resolve: jwtAccounts(config, options) };
    case "header": {
      const ring = holdsCredential(config.name) ? await keyring() : null;
      return { resolve: (headers) => headerAccount(headers, config, ring) };
    }
    case "credential": {
      const ring = await keyring();
      return { resolve: (headers) => credentialAccount(headers, config, ring) };
    }
    case "basic": {
      const ring = await keyring();
      return { resolve: (headers) => basicAccount(headers, config.anonymous, ring) };
    }
    case "cookie": {
      const ring = await keyring();
      return { resolve: (headers) => cookieAccount(headers, config, ring) };
    }
  }
}
