// The declaration of every policy option: what it may be, its default, and how a value is read.

import { parseDuration, parseSize } from "./duration.js";
import type { PolicyOptions } from "./policy.js";
import { PROFILES } from "./profiles.js";

export type OptionName = keyof PolicyOptions;

/** JSON Schema of a value, for the published schema of the configuration file. */
export type ValueSchema = Readonly<Record<string, unknown>>;

export interface PolicyOption {
  /** One sentence for the schema and the commented configuration file. */
  readonly about: string;
  /** What it may be, as the end of the sentence "it must be …". */
  readonly values: string;
  readonly default: unknown;
  readonly schema: ValueSchema;
  /** The value as the engine reads it, or undefined where it is not valid. */
  read(value: unknown): unknown;
}

const LONGEST_MS = 400 * 86_400_000;
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const MEDIA_TYPE = /^[a-z0-9!#$&^_.+-]+\/[a-z0-9!#$&^_.+-]+$/;
const UNKEYED_METHODS: ReadonlySet<string> = new Set(["OPTIONS", "HEAD", "TRACE", "CONNECT"]);

/** Whether SPEC K8 leaves requests of this method alone under every policy. */
export function isNeverKeyed(method: string): boolean {
  return UNKEYED_METHODS.has(method);
}

const duration = (minMs: number, maxMs: number, words: string) => ({
  values: `a duration such as "30s" or "24h", or milliseconds, ${words}`,
  schema: { type: ["string", "integer"], examples: ["30s", "24h"] },
  read(value: unknown): number | undefined {
    const ms = parseDuration(value);
    return ms !== null && ms >= minMs && ms <= maxMs ? ms : undefined;
  },
});

const size = (minBytes: number) => ({
  values: `a size such as "1MiB", or bytes, of at least ${minBytes}`,
  schema: { type: ["string", "integer"], examples: ["1MiB"] },
  read(value: unknown): number | undefined {
    const bytes = parseSize(value);
    return bytes !== null && bytes >= minBytes ? bytes : undefined;
  },
});

const boolean = {
  values: "true or false",
  schema: { type: "boolean" },
  read: (value: unknown): boolean | undefined => (typeof value === "boolean" ? value : undefined),
};

const oneOf = (...names: readonly string[]) => ({
  values: names.join(" or "),
  schema: { enum: names },
  read: (value: unknown): string | undefined => (names.includes(value as string) ? (value as string) : undefined),
});

/** Fields that mean something else already: a key in `Authorization` would be a credential in the history (SPEC §9.2). */
const TAKEN =
  /^(?:(?:proxy-|content-|onceward-|set-cookie).*|authorization|cookie|host|connection|keep-alive|te|trailer|transfer-encoding|upgrade|expect|date)$/i;

const headerName = {
  values: "a header name that HTTP has no other use for",
  schema: { type: "string", pattern: TOKEN.source },
  read: (value: unknown): string | undefined =>
    typeof value === "string" && TOKEN.test(value) && !TAKEN.test(value) ? value : undefined,
};

const statuses = {
  values: "a list of HTTP statuses from 200 to 599",
  schema: { type: "array", items: { type: "integer", minimum: 200, maximum: 599 } },
  read(value: unknown): ReadonlySet<number> | undefined {
    const fits =
      Array.isArray(value) && value.every((status) => Number.isInteger(status) && status >= 200 && status <= 599);
    return fits ? new Set<number>(value) : undefined;
  },
};

const list = (values: string, fits: (item: string) => boolean, schema: ValueSchema) => ({
  values,
  schema: { type: "array", items: schema },
  read(value: unknown): readonly string[] | undefined {
    const ok = Array.isArray(value) && value.every((item) => typeof item === "string" && fits(item));
    return ok ? (value as readonly string[]) : undefined;
  },
});

const methodNames = list("", (name) => TOKEN.test(name) && !isNeverKeyed(name.toUpperCase()), { type: "string" });
const mediaTypes = list("a list of media types such as text/event-stream", (type) => MEDIA_TYPE.test(type), {
  type: "string",
});
/** A dot path without empty names, or a JSON Pointer. */
const FIELD = /^(?:[^/.][^.]*(?:\.[^.]+)*|\/(?:[^~]|~[01])*)$/s;
const fields = list("", (field) => FIELD.test(field), { type: "string", minLength: 1 });
const expirationBound = duration(1, LONGEST_MS, "of at most 400 days");
const wait = duration(1, 600_000, "of at most 10 minutes");

function isPlain(value: unknown, ...names: readonly string[]): value is Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  const given = Object.keys(value);
  return given.length === names.length && names.every((name) => given.includes(name));
}

function plainSchema(properties: Readonly<Record<string, ValueSchema>>): ValueSchema {
  return { type: "object", properties, required: Object.keys(properties), additionalProperties: false };
}

export const OPTIONS: Readonly<Record<OptionName, PolicyOption>> = {
  profile: {
    about: "The named policy that the other options start from.",
    default: "ietf",
    ...oneOf(...Object.keys(PROFILES)),
  },
  header: { about: "The header that carries the key.", default: "Idempotency-Key", ...headerName },
  required: { about: "Whether a request without a key is refused.", default: false, ...boolean },
  methods: {
    about: "The methods that may carry a key; OPTIONS, HEAD, TRACE and CONNECT never do.",
    values: "`all`, or a list of methods other than OPTIONS, HEAD, TRACE and CONNECT",
    default: ["POST", "PATCH"],
    schema: { oneOf: [{ const: "all" }, { ...methodNames.schema, minItems: 1 }] },
    read(value) {
      if (value === "all") return value;
      const names = methodNames.read(value);
      return names === undefined || names.length === 0 ? undefined : new Set(names.map((name) => name.toUpperCase()));
    },
  },
  keyMaxLength: {
    about: "The longest key, in characters after unquoting.",
    values: "a whole number from 1 to 8192",
    default: 255,
    schema: { type: "integer", minimum: 1, maximum: 8192 },
    read: (value) =>
      Number.isInteger(value) && (value as number) >= 1 && (value as number) <= 8192 ? value : undefined,
  },
  strict: { about: "Whether only the quoted spelling of a key (RFC 9651) is read.", default: false, ...boolean },
  scope: { about: "What a key is unique within.", default: "account", ...oneOf("account", "account+operation") },
  retention: {
    about: "How long a key is kept, from the first request's arrival.",
    default: "24h",
    ...duration(1, LONGEST_MS, "of at most 400 days"),
  },
  expiration: {
    about: "A header with which a request sets when its key expires, and the bounds.",
    values: "`off`, or `{ header, min, max }` with a header name and two durations, min not above max",
    default: "off",
    schema: {
      oneOf: [
        { const: "off" },
        plainSchema({ header: headerName.schema, min: expirationBound.schema, max: expirationBound.schema }),
      ],
    },
    read(value) {
      if (value === "off") return null;
      if (!isPlain(value, "header", "min", "max")) return undefined;
      const header = headerName.read(value["header"]);
      const minMs = expirationBound.read(value["min"]);
      const maxMs = expirationBound.read(value["max"]);
      if (header === undefined || minMs === undefined || maxMs === undefined || minMs > maxMs) return undefined;
      return { header, minMs, maxMs };
    },
  },
  fingerprint: {
    about: "What a reused key is compared with: the whole request, its JSON meaning, some fields of it, or nothing.",
    values: "`exact`, `json`, `off`, a list of JSON fields such as a.b or /a/b, or in the library a function",
    default: "exact",
    schema: { oneOf: [{ enum: ["exact", "json", "off"] }, { ...fields.schema, minItems: 1 }] },
    read(value) {
      if (value === "exact" || value === "json" || value === "off" || typeof value === "function") return value;
      const names = fields.read(value);
      return names === undefined || names.length === 0 ? undefined : names;
    },
  },
  onMismatch: {
    about: "What a reused key with another request gets: 422, or the first answer.",
    default: "reject",
    ...oneOf("reject", "replay"),
  },
  duplicates: {
    about: "Whether duplicates get the recorded answer or are refused.",
    default: "replay",
    ...oneOf("replay", "reject"),
  },
  whileRunning: {
    about:
      "What a duplicate gets while the first request runs: 409 at once, or the answer after waiting so long at most.",
    values: "`reject`, or `{ wait }` with a duration of at most 10 minutes",
    default: "reject",
    schema: { oneOf: [{ const: "reject" }, plainSchema({ wait: wait.schema })] },
    read: (value) => (value === "reject" ? 0 : isPlain(value, "wait") ? wait.read(value["wait"]) : undefined),
  },
  retryAfter: {
    about: "What `Retry-After` says while the first request runs.",
    default: "1s",
    ...duration(1, 3_600_000, "of at most an hour"),
  },
  onInterrupted: {
    about: "What becomes of an operation whose owner died: held as unknown, run again, or asked about first.",
    values: "`hold`, `rerun`, in the gateway `{ ask: URL }`, or in the library a function",
    default: "hold",
    schema: { oneOf: [{ enum: ["hold", "rerun"] }, plainSchema({ ask: { type: "string" } })] },
    read(value) {
      if (value === "hold" || value === "rerun" || typeof value === "function") return value;
      const template = isPlain(value, "ask") ? value["ask"] : undefined;
      return typeof template === "string" &&
        /^https?:\/\//.test(template) &&
        URL.canParse(template.replaceAll(/[{}]/g, ""))
        ? value
        : undefined;
    },
  },
  lease: {
    about: "How long an owner is believed alive without a sign of life.",
    default: "30s",
    ...duration(100, 3_600_000, "from 100 ms to an hour"),
  },
  onStoreError: {
    about: "What happens while the store is out of reach: 503, or run unprotected.",
    default: "reject",
    ...oneOf("reject", "bypass"),
  },
  notStarted: {
    about: "Statuses that say the operation did not start, so that the key stays unused.",
    default: [],
    ...statuses,
  },
  unknownStatuses: { about: "Statuses of the upstream that leave the outcome unknown.", default: [], ...statuses },
  maxRequestBody: { about: "The largest body of a keyed request.", default: "100MiB", ...size(0) },
  errorFormat: {
    about: "The format of answers that Onceward makes itself.",
    default: "problem",
    ...oneOf("problem", "stripe"),
  },
  mode: {
    about: "Whether the policy is enforced or only reported.",
    default: "enforce",
    ...oneOf("enforce", "observe"),
  },
  marker: {
    about: "The header that marks a replay, or false for none.",
    values: "a header name, or false",
    default: "Idempotent-Replayed",
    schema: { oneOf: [headerName.schema, { const: false }] },
    read: (value) => (value === false ? false : headerName.read(value)),
  },
  keepSetCookie: { about: "Whether Set-Cookie is replayed.", default: false, ...boolean },
  keepDate: { about: "Whether a replay carries the first answer's Date.", default: false, ...boolean },
  maxBody: { about: "The largest answer that is recorded.", default: "1MiB", ...size(0) },
  announceIgnored: {
    about: "Whether `Idempotency-Status: ignored` tells a client that its key means nothing here.",
    default: false,
    ...boolean,
  },
  streamingTypes: {
    about: "Media types whose answers are passed on as they come and not kept.",
    default: ["text/event-stream", "application/x-ndjson"],
    ...mediaTypes,
    read: (value) => (mediaTypes.read(value) === undefined ? undefined : new Set(value as string[])),
  },
  forwardKey: { about: "Whether the upstream is sent the key too.", default: true, ...boolean },
};
