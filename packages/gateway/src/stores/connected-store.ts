// What a store that is a server is made with, and what comes of it; credentials and certificates included.

import { readFileSync } from "node:fs";
import { IdempotencyError, type Store, type StoreLimits } from "onceward";
import type { RemoteAddress } from "../config/remote-address.js";

/** A store that is not open yet, and what ends the connections made for it. */
export interface ConnectedStore {
  readonly store: Store;
  disconnect(): Promise<void>;
}

/** What every store that is a server is made with. */
export interface RemoteStoreOptions {
  readonly limits: Partial<StoreLimits>;
  /** How many runs the history keeps; undefined: the store's default. */
  readonly maxRuns: number | undefined;
  /** Longest that connecting or one operation takes, in milliseconds. */
  readonly timeoutMs: number;
  readonly env: NodeJS.ProcessEnv;
  readonly onWarning: (message: string) => void;
}

export interface Login {
  readonly user: string | null;
  readonly password: string | null;
}

/** The address's own, else the environment's: a password there needs no percent signs and shows in no file. */
export function loginOf({ user, password }: RemoteAddress, env: NodeJS.ProcessEnv): Login {
  return {
    user: user ?? (env["ONCEWARD_STORE_USER"] || null),
    password: password ?? (env["ONCEWARD_STORE_PASSWORD"] || null),
  };
}

/** As Node's `tls.connect` takes it. */
export interface TlsOptions {
  readonly rejectUnauthorized: boolean;
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
}

/**
 * null where the address says no TLS.
 *
 * @throws IdempotencyError `store_inaccessible` for a file that cannot be read.
 */
export function tlsOf({ tls, ca, cert, key }: RemoteAddress): TlsOptions | null {
  if (tls === "off") return null;
  return {
    rejectUnauthorized: tls === "on",
    ...(ca === null ? {} : { ca: pem("ca", ca) }),
    ...(cert === null ? {} : { cert: pem("cert", cert) }),
    ...(key === null ? {} : { key: pem("key", key) }),
  };
}

function pem(parameter: string, path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    const reason = (error as NodeJS.ErrnoException).code ?? "unknown";
    const message = `cannot read ${path}, which the store's ${parameter} names: ${reason}; give the path of a PEM file`;
    throw new IdempotencyError("store_inaccessible", message, { cause: error });
  }
}
