// What a valid configuration allows and its owner should know.

import { isLoopback } from "../config/addresses.js";
import type { GatewayConfig } from "../config/config.js";

export function warningsOf(config: GatewayConfig): string[] {
  const warnings: string[] = [];
  if (config.store === "memory:") {
    warnings.push(
      "the memory store forgets every key when the gateway stops, so a retry after that runs again; sqlite:PATH does not",
    );
  }
  if (!config.upstreamTls.verify)
    warnings.push("upstreamTls.verify is false: anybody between here and the upstream can read and change requests");
  const { account } = config;
  if (account.from !== "single" && account.anonymous === "share") {
    warnings.push(
      "anonymous: share makes all callers without a credential one account, which can read each other's answers",
    );
  }
  if (account.from === "jwt" && account.keys.kind === "jwks") {
    const url = new URL(account.keys.url);
    if (url.protocol === "http:" && !isLoopback(url.hostname)) {
      warnings.push("account.jwks is fetched over http: whoever stands between can give himself any account");
    }
  }
  for (const { name, policy } of config.routes) {
    if (policy?.onStoreError === "bypass")
      warnings.push(`${name}: while the store is out of reach requests run unprotected (onStoreError: bypass)`);
  }
  return warnings;
}
