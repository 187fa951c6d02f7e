// What a valid configuration allows and its owner should know.

import { addressText, isLoopback } from "../config/addresses.js";
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
  const { account, listen } = config;
  if (account.from === "single" && !isLoopback(listen.host)) {
    warnings.push(
      `account: single makes everybody who can reach ${addressText(listen)} one account: they can read each other's answers, and block each other's keys`,
    );
  }
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
  for (const { name, methods, policy } of config.routes) {
    const left = policy === null ? [] : unprotected(methods, policy.methods);
    if (left.length > 0)
      warnings.push(
        `${name}: ${left.join(", ")} passes unprotected, since the policy covers ${[...(policy?.methods ?? [])].join(", ")}`,
      );
    if (policy?.onStoreError === "bypass")
      warnings.push(`${name}: while the store is out of reach requests run unprotected (onStoreError: bypass)`);
  }
  return warnings;
}

/** Methods that change something and that a route names, but its policy leaves alone. */
function unprotected(named: ReadonlySet<string> | null, covered: ReadonlySet<string> | "all"): string[] {
  if (named === null || covered === "all") return [];
  return [...named].filter((method) => !covered.has(method) && !SAFE.has(method));
}

/** RFC 9110 §9.2.1, and CONNECT, which is no request for the upstream. */
const SAFE: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS", "TRACE", "CONNECT"]);
