// The gateway's configuration as the rest of the gateway reads it: complete, validated, secrets resolved.

import type { Policy } from "onceward";

/** A host and a port to listen on; port 0 takes a free one. */
export interface Address {
  readonly host: string;
  readonly port: number;
}

/** PEM files of a listener; a change on disk is read again on SIGHUP. */
export interface ListenerTls {
  readonly certFile: string;
  readonly keyFile: string;
}

/** How the gateway talks TLS to an `https:` upstream. */
export interface UpstreamTls {
  /** Further certificate authorities, PEM. */
  readonly caFile: string | null;
  /** Client certificate, PEM. */
  readonly certFile: string | null;
  readonly keyFile: string | null;
  /** Name to verify instead of the URL's host. */
  readonly serverName: string | null;
  /** false accepts any certificate; for tests only, warned about at start. */
  readonly verify: boolean;
}

/** A condition on a request's header or host (SPEC S5). */
export type Condition = { readonly header: string; readonly equals: string } | { readonly host: string };

/** A rule for the paths that match; the first one wins. */
export interface Route {
  /** As written, such as `POST /v1/transfers`; the route's name in history and metrics. */
  readonly name: string;
  /** null: every method. */
  readonly methods: ReadonlySet<string> | null;
  /** On the normalised path. */
  readonly matches: (path: string) => boolean;
  readonly when: Condition | null;
  /** null: `enabled: false`, everything passes through. */
  readonly policy: Policy | null;
  readonly upstream: string;
  /** Asked before a replay is sent (SPEC S6), or null. */
  readonly authorizeUrl: string | null;
}

/** Who is calling (SPEC §3, §14.3). */
export type AccountConfig = {
  /** What a keyed request without any account is. */
  readonly anonymous: "reject" | "share";
  /** A secret to digest credentials with; null: the one the store holds, made by the first gateway. */
  readonly secret: string | null;
} & (
  | { readonly from: "credential"; readonly changingCredentials: "reject" | "accept" }
  | { readonly from: "header"; readonly name: string }
  | { readonly from: "basic" }
  | { readonly from: "cookie"; readonly name: string }
  | { readonly from: "single" }
  | {
      readonly from: "jwt";
      readonly claim: string;
      readonly issuer: string;
      readonly audience: string;
      readonly keys:
        | { readonly kind: "jwks"; readonly url: string }
        | { readonly kind: "secret"; readonly secret: string }
        | { readonly kind: "publicKey"; readonly pem: string };
    }
);

/** Where the environment part of the scope comes from (SPEC S5). */
export type EnvironmentConfig =
  | { readonly from: "value"; readonly value: string }
  | { readonly from: "header"; readonly header: string }
  | { readonly from: "host" };

/** Every limit has a default (SPEC §9.3, §9.4). Sizes in bytes. */
export interface Limits {
  /** Node's bound on all header fields of a request together; 16 KiB. */
  readonly maxHeaderBytes: number;
  /** Header fields of a request or an answer; 200. */
  readonly maxHeaders: number;
  /** Open client connections; 10,000. */
  readonly maxConnections: number;
  /** Keyed requests under way at once; 10,000; beyond: 503. */
  readonly maxInFlight: number;
  /** Memory for bodies of keyed requests and answers in all; 256 MiB; beyond: bodies go to files, answers are not kept. */
  readonly maxBufferBytes: number;
  /** Disk for spooled request bodies in all; 4 GiB. */
  readonly maxSpoolBytes: number;
  /** A keyed request's body up to here stays in memory; 1 MiB (SPEC §5.5). */
  readonly spoolAboveBytes: number;
  readonly maxWaitersPerKey: number;
  readonly maxWaiters: number;
  readonly maxRecordsPerAccount: number;
  readonly maxRecords: number;
  /** New keys a second and account; null: no bound (SPEC §9.4). */
  readonly newKeysPerSecond: number | null;
  /** Runs kept in the history; 100,000. */
  readonly maxRuns: number;
}

/** All in milliseconds. */
export interface Timeouts {
  /** To receive a request's header; 10 s. */
  readonly headersMs: number;
  /** To receive a keyed request's whole body, and between two pieces of any body; 60 s. */
  readonly bodyMs: number;
  /** An idle client connection; 65 s. */
  readonly keepAliveMs: number;
  readonly connectMs: number;
  /** From the last byte of the request to the upstream's header; 60 s. */
  readonly upstreamHeadersMs: number;
  /** Between two pieces of the upstream's body; 60 s. */
  readonly upstreamBodyMs: number;
  /** One store operation; 5 s. */
  readonly storeMs: number;
  /** How long running requests may finish on SIGTERM; 25 s. */
  readonly shutdownMs: number;
  /** How often expired records are purged; 10 s. */
  readonly purgeMs: number;
}

/** A key that seals recorded answers at rest (SPEC §9.1); 32 bytes. */
export interface EncryptionKey {
  readonly id: string;
  readonly key: Uint8Array;
}

export interface GatewayConfig {
  readonly listen: Address;
  readonly tls: ListenerTls | null;
  /** null: no admin listener. */
  readonly admin: Address | null;
  readonly adminToken: string | null;
  readonly upstream: string;
  readonly upstreamTls: UpstreamTls;
  /** Whether the upstream gets the client's Host (true) or its own name. */
  readonly preserveHost: boolean;
  readonly store: string;
  readonly account: AccountConfig;
  /** First match wins. Where none are configured: one that matches every path. */
  readonly routes: readonly Route[];
  readonly namespace: string;
  readonly environment: EnvironmentConfig;
  readonly limits: Limits;
  readonly timeouts: Timeouts;
  /** First one seals, all open; empty: not sealed. */
  readonly encryption: readonly EncryptionKey[];
  /** Whether answers that were recorded before sealing was turned on are still replayed. */
  readonly acceptUnsealed: boolean;
  /** Addresses or CIDR ranges whose X-Forwarded-* and Forwarded are believed. */
  readonly trustedProxies: readonly string[];
  /** Whether keys are kept as digests in records and history (SPEC §9.2). */
  readonly hashKeys: boolean;
  /** Path patterns whose paths are shown as `[redacted]` in history and logs. */
  readonly redactPaths: readonly string[];
  readonly log: { readonly level: "debug" | "info" | "warn" | "error" | "silent"; readonly format: "json" | "pretty" };
}
