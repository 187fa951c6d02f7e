// The values a setting may have: how each is read, what messages say it must be, and its JSON Schema.

import { isIP } from "node:net";
import { parseDuration, parseSize } from "onceward";
import { compileRoutePattern, parseRouteMatch } from "onceward/http";
import { z } from "zod";
import type { Address, Condition, EnvironmentConfig } from "./config.js";
import { methodsFault } from "./methods.js";
import { parseStoreUrl, STORE_URLS } from "./store-url.js";

type JsonSchema = Readonly<Record<string, unknown>>;

/** Says what is wrong with a value in words of its own, where "it must be …" would be too little. */
class Refusal {
  readonly message: string;

  /** @param message Follows the setting's name, such as `has 20 bytes, but it must have 32`. */
  constructor(message: string) {
    this.message = message;
  }
}

interface LeafOptions<T> {
  /** The end of the sentence "it must be …". */
  readonly values: string;
  readonly schema: JsonSchema;
  /** The value as the gateway reads it; undefined where it is none. */
  read(value: unknown): T | Refusal | undefined;
}

/** One setting, as zod takes it. `about` is a sentence for the published schema. */
export function leaf<T>(options: LeafOptions<T>, about: string): z.ZodType<T, unknown> {
  return z
    .unknown()
    .transform((value, context) => {
      const result = options.read(value);
      if (result === undefined || result instanceof Refusal) {
        const whole = result instanceof Refusal;
        const message = whole ? result.message : options.values;
        context.issues.push({ code: "custom", message, input: value, params: { whole } });
        return z.NEVER;
      }
      return result;
    })
    .meta({ ...options.schema, description: about });
}

const HOST_NAME =
  /^(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*$/;
const HEADER_NAME = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;

export const boolean: LeafOptions<boolean> = {
  values: "true or false",
  schema: { type: "boolean" },
  read: (value) => (typeof value === "boolean" ? value : undefined),
};

export const text: LeafOptions<string> = {
  values: "a string that is not empty",
  schema: { type: "string", minLength: 1 },
  read: (value) => (typeof value === "string" && value.trim() !== "" ? value : undefined),
};

export const headerName: LeafOptions<string> = {
  values: "a header name",
  schema: { type: "string", pattern: HEADER_NAME.source },
  read: (value) => (typeof value === "string" && HEADER_NAME.test(value) ? value : undefined),
};

export function oneOf<const T extends string>(...names: readonly T[]): LeafOptions<T> {
  return {
    values: names.join(" or "),
    schema: { enum: names },
    read: (value) => names.find((name) => name === value),
  };
}

export function integer(min: number, max: number): LeafOptions<number> {
  return {
    values: `a whole number from ${min} to ${max}`,
    schema: { type: "integer", minimum: min, maximum: max },
    read: (value) =>
      Number.isInteger(value) && (value as number) >= min && (value as number) <= max ? (value as number) : undefined,
  };
}

export const rate: LeafOptions<number | null> = {
  values: "off, or a whole number of at least 1",
  schema: { oneOf: [{ const: "off" }, { type: "integer", minimum: 1 }] },
  read: (value) =>
    value === "off" ? null : Number.isSafeInteger(value) && (value as number) >= 1 ? (value as number) : undefined,
};

/** Milliseconds, at most what a timer takes. */
export function duration(minMs: number): LeafOptions<number> {
  return {
    values: `a duration such as "30s" or "5m", or milliseconds, from ${minMs} ms to 24 days`,
    schema: { type: ["string", "integer"], examples: ["30s", "5m"] },
    read(value) {
      const ms = parseDuration(value);
      return ms !== null && ms >= minMs && ms <= 24 * 86_400_000 ? ms : undefined;
    },
  };
}

export function size(minBytes: number, maxBytes: number = Number.MAX_SAFE_INTEGER): LeafOptions<number> {
  const most = maxBytes === Number.MAX_SAFE_INTEGER ? "" : ` and at most ${maxBytes}`;
  return {
    values: `a size such as "1MiB", or bytes, of at least ${minBytes}${most}`,
    schema: { type: ["string", "integer"], examples: ["1MiB"] },
    read(value) {
      const bytes = parseSize(value);
      return bytes !== null && bytes >= minBytes && bytes <= maxBytes ? bytes : undefined;
    },
  };
}

export function readAddress(value: unknown): Address | undefined {
  const match = typeof value === "string" ? /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(value.trim()) : null;
  const port = Number(match?.[3]);
  if (match === null || port > 65_535) return undefined;
  const [, inBrackets, bare] = match;
  if (inBrackets !== undefined) return isIP(inBrackets) === 6 ? { host: inBrackets, port } : undefined;
  if (bare === undefined) return undefined;
  // What looks like an IPv4 address and is none is a slip, not a host name.
  if (/^[\d.]+$/.test(bare) && isIP(bare) !== 4) return undefined;
  return isIP(bare) === 4 || HOST_NAME.test(bare) ? { host: bare, port } : undefined;
}

export const address: LeafOptions<Address> = {
  values: 'HOST:PORT, such as "127.0.0.1:8080", "0.0.0.0:8080" for every interface or "[::1]:8080"',
  schema: { type: "string", examples: ["127.0.0.1:8080"] },
  read: readAddress,
};

export const optionalAddress: LeafOptions<Address | null> = {
  values: `off, or ${address.values}`,
  schema: { anyOf: [{ const: false }, { type: "string", examples: ["127.0.0.1:8081", "off"] }] },
  read: (value) => (value === "off" || value === false ? null : readAddress(value)),
};

/** @param example Of what it is for, as messages show it. */
export function httpUrl(example: string): LeafOptions<string> {
  return {
    values: `an http or https URL, such as ${example}`,
    schema: { type: "string", pattern: "^https?://", examples: [example] },
    read: readHttpUrl,
  };
}

function readHttpUrl(value: unknown): string | Refusal | undefined {
  if (typeof value !== "string" || !/^https?:\/\//i.test(value) || !URL.canParse(value)) return undefined;
  const url = new URL(value);
  if (url.username !== "" || url.password !== "") {
    return new Refusal("holds a user name or password, which are not sent; remove them from the URL");
  }
  if (url.hash !== "") return new Refusal("holds a fragment (#…), which is not sent; remove it from the URL");
  return value;
}

export const storeUrl: LeafOptions<string> = {
  values: STORE_URLS,
  schema: {
    type: "string",
    minLength: 1,
    examples: ["sqlite:./onceward.db", "memory", "postgres://onceward@localhost/payments"],
  },
  read(value) {
    if (typeof value !== "string") return undefined;
    try {
      // The folder matters only later: whether the address can be read does not depend on it.
      parseStoreUrl(value, "/");
      return value;
    } catch (error) {
      return new Refusal(error instanceof Error ? error.message.replace(/^the store /, "") : String(error));
    }
  },
};

/** Where requests go. Its path is put before the request's. */
export const upstreamUrl: LeafOptions<string> = {
  ...httpUrl("http://127.0.0.1:3000"),
  read(value) {
    const url = readHttpUrl(value);
    if (typeof url !== "string") return url;
    if (new URL(url).search !== "") return new Refusal("holds a query (?…), but requests have their own; remove it");
    return url.replace(/\/+$/, "");
  },
};

export const routeMatch: LeafOptions<string> = {
  values: "a path with or without methods before it, such as POST /v1/transfers or /v1/reports/**",
  schema: { type: "string", examples: ["POST /v1/transfers", "/v1/reports/**"] },
  read(value) {
    if (typeof value !== "string") return undefined;
    const match = parseRouteMatch(value);
    if ("error" in match) return new Refusal(`: ${match.error}`);
    const fault = methodsFault(match.methods ?? []);
    return fault === null ? value.trim() : new Refusal(`: ${fault}`);
  },
};

export const pathPattern: LeafOptions<string> = {
  values: "a path pattern such as /v1/users/:id/**",
  schema: { type: "string", pattern: "^/" },
  read(value) {
    if (typeof value !== "string" || !value.startsWith("/")) return undefined;
    try {
      compileRoutePattern(value);
      return value;
    } catch (error) {
      return new Refusal(`: ${error instanceof Error ? error.message.replace(/^match: /, "") : error}`);
    }
  },
};

export const condition: LeafOptions<Condition> = {
  values: "`{ header, equals }` or `{ host }`, with strings",
  schema: {
    oneOf: [
      plain({ header: headerName.schema, equals: { type: "string" } }),
      plain({ host: { type: "string", minLength: 1 } }),
    ],
  },
  read(value) {
    if (!isMap(value)) return undefined;
    const names = Object.keys(value).sort().join();
    const { header, equals, host } = value;
    if (names === "equals,header" && typeof equals === "string") {
      const name = headerName.read(header);
      return typeof name === "string" ? { header: name, equals } : undefined;
    }
    return names === "host" && typeof host === "string" && host !== "" ? { host } : undefined;
  },
};

export const environment: LeafOptions<EnvironmentConfig> = {
  values: "a name such as live, `{ header }` with a header name, or host for the request's host",
  schema: { oneOf: [{ type: "string", minLength: 1 }, plain({ header: headerName.schema })] },
  read(value) {
    if (value === "host") return { from: "host" };
    if (typeof value === "string") return value.trim() === "" ? undefined : { from: "value", value };
    if (!isMap(value) || Object.keys(value).join() !== "header") return undefined;
    const header = headerName.read(value["header"]);
    return typeof header === "string" ? { from: "header", header } : undefined;
  },
};

/** An address or a CIDR range. */
export const network: LeafOptions<string> = {
  values: "an IP address or a range such as 10.0.0.0/8",
  schema: { type: "string", examples: ["10.0.0.0/8"] },
  read(value) {
    if (typeof value !== "string") return undefined;
    const [ip = "", prefix, ...more] = value.split("/");
    const family = isIP(ip);
    if (family === 0 || more.length > 0 || ip.includes("%")) return undefined;
    if (prefix === undefined) return value;
    return /^\d{1,3}$/.test(prefix) && Number(prefix) <= (family === 4 ? 32 : 128) ? value : undefined;
  },
};

/** Where a secret is read from; see `resolveSecret`. */
export type SecretSource = { readonly value: string } | { readonly file: string } | { readonly env: string };

export const secret: LeafOptions<SecretSource> = {
  values: "a secret",
  schema: {
    oneOf: [{ type: "string", minLength: 1 }, plain({ file: { type: "string" } }), plain({ env: { type: "string" } })],
  },
  read(value) {
    const fault = new Refusal(
      `must be a string such as \${VARIABLE}, { file: PATH } or { env: VARIABLE }, and not empty`,
    );
    if (typeof value === "string") return value.trim() === "" ? fault : { value };
    if (!isMap(value)) return fault;
    const names = Object.keys(value).join();
    const { file, env } = value;
    if (names === "file" && typeof file === "string" && file !== "") return { file };
    return names === "env" && typeof env === "string" && env !== "" ? { env } : fault;
  },
};

export function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function plain(properties: Readonly<Record<string, unknown>>): JsonSchema {
  return { type: "object", properties, required: Object.keys(properties), additionalProperties: false };
}
