// The declaration of the configuration file: every setting, its default, and its sentence for the published schema.

import { OPTIONS, type PolicyOptions } from "onceward";
import { z } from "zod";
import { type AccountFile, accountSchema } from "./account-schema.js";
import type { Address, Condition, EnvironmentConfig, GatewayConfig, Limits, Timeouts } from "./config.js";
import {
  address,
  boolean,
  condition,
  duration,
  environment,
  httpUrl,
  integer,
  leaf,
  network,
  oneOf,
  optionalAddress,
  pathPattern,
  rate,
  routeMatch,
  type SecretSource,
  secret,
  size,
  storeUrl,
  text,
  upstreamUrl,
} from "./leaf.js";

/** A route as it is written; the policy options beside these are checked by `onceward` itself. */
export interface RouteFile extends PolicyOptions {
  match: string;
  enabled: boolean;
  when?: Condition | undefined;
  upstream?: string | undefined;
  authorize?: { url: string } | undefined;
}

/** The file with its defaults filled in; secrets and files are still to be read. */
export interface ConfigFile extends PolicyOptions {
  listen: Address;
  admin: Address | null;
  upstream?: string | undefined;
  store: string;
  tls?: { cert: string; key: string } | undefined;
  upstreamTls: {
    ca?: string | undefined;
    cert?: string | undefined;
    key?: string | undefined;
    serverName?: string | undefined;
    verify: boolean;
  };
  preserveHost: boolean;
  adminToken?: SecretSource | undefined;
  account: AccountFile;
  routes: RouteFile[];
  authorize?: { url: string } | undefined;
  namespace: string;
  environment: EnvironmentConfig;
  limits: Limits;
  timeouts: Timeouts;
  encryption: { id: string; key: SecretSource }[];
  acceptUnsealed: boolean;
  trustedProxies: string[];
  hashKeys: boolean;
  redactPaths: string[];
  log: { level: GatewayConfig["log"]["level"]; format?: GatewayConfig["log"]["format"] | undefined };
}

/** Policy options pass through zod as they are: their types and contradictions are `checkPolicy`'s to judge. */
const policyOptions = Object.fromEntries(
  Object.entries(OPTIONS).map(([name, option]) => [
    name,
    z
      .unknown()
      .optional()
      .meta({ ...option.schema, default: option.default, description: option.about }),
  ]),
);

export const POLICY_OPTION_NAMES: ReadonlySet<string> = new Set(Object.keys(OPTIONS));

const count = integer(1, 1_000_000_000);

const limits = z
  .strictObject({
    maxHeaderSize: leaf(size(1_024, 1_048_576), "All header fields of a request together.").prefault("16KiB"),
    maxHeaders: leaf(integer(1, 10_000), "Header fields of a request or an answer.").prefault(200),
    maxConnections: leaf(count, "Open client connections.").prefault(10_000),
    maxInFlight: leaf(count, "Keyed requests under way at once; beyond it 503.").prefault(10_000),
    maxBuffer: leaf(size(1_048_576), "Memory for bodies of keyed requests and answers in all.").prefault("256MiB"),
    maxSpool: leaf(size(0), "Disk for large request bodies in all.").prefault("4GiB"),
    spoolAbove: leaf(size(0), "A keyed request's body up to this size stays in memory.").prefault("1MiB"),
    maxWaitersPerKey: leaf(count, "Duplicates that may wait for one key.").prefault(100),
    maxWaiters: leaf(count, "Duplicates that may wait in all.").prefault(10_000),
    maxRecordsPerAccount: leaf(integer(1, Number.MAX_SAFE_INTEGER), "Records of one account in the store.").prefault(
      1_000_000,
    ),
    maxRecords: leaf(integer(1, Number.MAX_SAFE_INTEGER), "Records in the store.").prefault(10_000_000),
    newKeysPerSecond: leaf(rate, "New keys a second of one account.").prefault("off"),
    maxRuns: leaf(integer(0, 1_000_000_000), "Runs kept in the history.").prefault(100_000),
  })
  .transform(({ maxHeaderSize, maxBuffer, maxSpool, spoolAbove, ...same }) => ({
    ...same,
    maxHeaderBytes: maxHeaderSize,
    maxBufferBytes: maxBuffer,
    maxSpoolBytes: maxSpool,
    spoolAboveBytes: spoolAbove,
  }))
  .prefault({})
  .meta({ description: "Bounds on what the gateway holds; reaching one is a clear answer." });

const timeouts = z
  .strictObject({
    headers: leaf(duration(1), "To receive a request's header.").prefault("10s"),
    body: leaf(duration(1), "To receive a keyed request's whole body, and between two pieces of any body.").prefault(
      "60s",
    ),
    keepAlive: leaf(duration(1), "How long an idle client connection is kept.").prefault("65s"),
    connect: leaf(duration(1), "To connect to the upstream.").prefault("5s"),
    upstreamHeaders: leaf(duration(1), "From the last byte of a request to the upstream's answer.").prefault("60s"),
    upstreamBody: leaf(duration(1), "Between two pieces of the upstream's answer.").prefault("60s"),
    store: leaf(duration(1), "One operation of the store.").prefault("5s"),
    shutdown: leaf(duration(0), "How long running requests may finish when the gateway is stopped.").prefault("25s"),
    purge: leaf(duration(100), "How often expired records are purged.").prefault("10s"),
  })
  .transform((given) => ({
    headersMs: given.headers,
    bodyMs: given.body,
    keepAliveMs: given.keepAlive,
    connectMs: given.connect,
    upstreamHeadersMs: given.upstreamHeaders,
    upstreamBodyMs: given.upstreamBody,
    storeMs: given.store,
    shutdownMs: given.shutdown,
    purgeMs: given.purge,
  }))
  .prefault({})
  .meta({ description: "How long each stage may take." });

const authorize = z
  .strictObject({
    url: leaf(
      httpUrl("http://127.0.0.1:3000/me"),
      "Asked with the caller's own header; anything but a 2xx is sent instead of the replay.",
    ),
  })
  .optional()
  .meta({
    description: "Asks the upstream before a replay is sent, since replays do not pass through its own authentication.",
  });

const route = z.strictObject({
  match: leaf(
    routeMatch,
    "Methods (none: every method) and a path; `:name` and `*` stand for one segment, `**` at the end for any number.",
  ),
  enabled: leaf(boolean, "Whether the route is protected; false lets its requests pass through untouched.").prefault(
    true,
  ),
  when: leaf(condition, "Matches only where a request's header or host is this.").optional(),
  upstream: leaf(upstreamUrl, "Where this route's requests go.").optional(),
  authorize,
  ...policyOptions,
});

const upstreamTls = z
  .strictObject({
    ca: leaf(text, "Further certificate authorities, a PEM file.").optional(),
    cert: leaf(text, "The gateway's own certificate, a PEM file.").optional(),
    key: leaf(text, "The key of that certificate, a PEM file.").optional(),
    serverName: leaf(text, "The name to verify instead of the URL's host.").optional(),
    verify: leaf(boolean, "false accepts any certificate: for tests only.").prefault(true),
  })
  .prefault({})
  .meta({ description: "How the gateway talks TLS to an https: upstream." });

const log = z
  .strictObject({
    level: leaf(oneOf("debug", "info", "warn", "error", "silent"), "The least severe that is logged.").prefault("info"),
    format: leaf(oneOf("json", "pretty"), "Left out: pretty on a terminal, json elsewhere.").optional(),
  })
  .prefault({})
  .meta({ description: "What is logged to standard output, and how." });

export const fileSchema: z.ZodType<ConfigFile, unknown> = z.strictObject({
  $schema: z.unknown().optional().meta({ type: "string", description: "For editors; not read." }),
  listen: leaf(address, "Where clients connect.").prefault("127.0.0.1:8080"),
  admin: leaf(optionalAddress, "Run history, admin API, /metrics, /healthz, /readyz; off for none.").prefault(
    "127.0.0.1:8081",
  ),
  upstream: leaf(upstreamUrl, "The service that is protected.").optional(),
  store: leaf(storeUrl, "memory or sqlite:PATH; a relative path is relative to this file.").prefault(
    "sqlite:./onceward.db",
  ),
  tls: z
    .strictObject({
      cert: leaf(text, "The certificate chain, a PEM file."),
      key: leaf(text, "Its private key, a PEM file."),
    })
    .optional()
    .meta({ description: "TLS towards clients; the files are read again on SIGHUP." }),
  upstreamTls,
  preserveHost: leaf(boolean, "Whether the upstream gets the client's Host or its own name.").prefault(true),
  adminToken: leaf(secret, "What the admin listener asks for; needed wherever it is not on loopback.").optional(),
  account: accountSchema.prefault({}),
  routes: z
    .array(route)
    .prefault([])
    .meta({ description: "First match wins. Where there are none, the options beside this cover every path." }),
  authorize,
  namespace: leaf(text, "Part of every key's scope, for gateways that share a store.").prefault("default"),
  environment: leaf(environment, "Part of every key's scope, so that live and test never meet.").prefault("live"),
  limits,
  timeouts,
  encryption: z
    .array(
      z.strictObject({
        id: leaf(text, "A name for the key, kept in each record."),
        key: leaf(secret, "32 bytes, in base64 or hexadecimal."),
      }),
    )
    .prefault([])
    .meta({ description: "Keys that seal recorded answers at rest: the first seals, all open. Empty: not sealed." }),
  acceptUnsealed: leaf(
    boolean,
    "Whether answers recorded before `encryption` was set are still replayed; else their retries get 500. For one retention after it was set.",
  ).prefault(false),
  trustedProxies: z
    .array(leaf(network, "An IP address or a range such as 10.0.0.0/8."))
    .prefault([])
    .meta({ description: "Whose Forwarded and X-Forwarded-* are believed." }),
  hashKeys: leaf(boolean, "Whether keys are kept as digests in records and history.").prefault(false),
  redactPaths: z
    .array(leaf(pathPattern, "A path pattern."))
    .prefault([])
    .meta({ description: "Paths that are shown as [redacted] in history and logs." }),
  log,
  ...policyOptions,
}) as unknown as z.ZodType<ConfigFile, unknown>;
