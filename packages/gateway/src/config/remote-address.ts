// Reads the address of a store that is a server: postgres://…, mysql://…, redis://…, nats://…, dynamodb://TABLE (SPEC §14.2).

import { resolve } from "node:path";
import { closest, parseDuration } from "onceward";

export type RemoteKind = "postgres" | "mysql" | "redis" | "nats" | "dynamodb";

/** `on`: encrypted, and the server's certificate must be good. `insecure`: encrypted, and whoever answers is believed. */
export type TlsMode = "off" | "on" | "insecure";

export interface RemoteAddress {
  readonly kind: RemoteKind;
  /** How several Redis servers belong together; `single` for all other stores. */
  readonly topology: "single" | "cluster" | "sentinel";
  readonly hosts: readonly { readonly host: string; readonly port: number }[];
  readonly user: string | null;
  readonly password: string | null;
  /** Database, bucket, table, or the name of Sentinel's primary; null where the address has none. */
  readonly name: string | null;
  readonly tls: TlsMode;
  /** PEM files, absolute. */
  readonly ca: string | null;
  readonly cert: string | null;
  readonly key: string | null;
  /** What tables or keys begin with; null: the store's own. */
  readonly prefix: string | null;
  /** Connections at most; null: the store's own. */
  readonly connections: number | null;
  /** How far the nodes' clocks may be apart, in milliseconds; null: the store's own. */
  readonly skewMs: number | null;
  /** Further parameters of this kind of store. */
  readonly more: Readonly<Record<string, string>>;
}

interface Scheme {
  readonly kind: RemoteKind;
  readonly topology?: "cluster" | "sentinel";
  readonly port: number;
  readonly tls?: true;
  /** Whether several hosts, with commas between them, may be named. */
  readonly hosts?: true;
  /** Whether the name after the host must be there. */
  readonly named?: true;
  readonly parameters: readonly string[];
  readonly example: string;
}

const TLS = ["tls", "ca", "cert", "key"];
const POSTGRES: Scheme = {
  kind: "postgres",
  port: 5432,
  named: true,
  parameters: [...TLS, "sslmode", "sslrootcert", "sslcert", "sslkey", "schema", "prefix", "connections"],
  example: "postgres://user@host/database",
};
const MYSQL: Scheme = {
  kind: "mysql",
  port: 3306,
  named: true,
  parameters: [...TLS, "prefix", "connections"],
  example: "mysql://user@host/database",
};
const REDIS: Scheme = {
  kind: "redis",
  port: 6379,
  parameters: [...TLS, "prefix", "durability"],
  example: "redis://host",
};
const CLUSTER: Scheme = { ...REDIS, topology: "cluster", hosts: true, example: "redis+cluster://host1,host2" };
const SENTINEL: Scheme = {
  ...REDIS,
  topology: "sentinel",
  port: 26379,
  hosts: true,
  named: true,
  example: "redis+sentinel://host1,host2/primary",
};

/** By what stands before `://`. */
const SCHEMES: Readonly<Record<string, Scheme>> = {
  postgres: POSTGRES,
  postgresql: POSTGRES,
  mysql: MYSQL,
  mariadb: MYSQL,
  redis: REDIS,
  rediss: { ...REDIS, tls: true },
  "redis+cluster": CLUSTER,
  "rediss+cluster": { ...CLUSTER, tls: true },
  "redis+sentinel": SENTINEL,
  "rediss+sentinel": { ...SENTINEL, tls: true },
  nats: {
    kind: "nats",
    port: 4222,
    hosts: true,
    parameters: [...TLS, "replicas", "skew", "durability"],
    example: "nats://host/bucket",
  },
  dynamodb: {
    kind: "dynamodb",
    port: 443,
    parameters: ["region", "endpoint", "skew"],
    example: "dynamodb://TABLE?region=eu-central-1",
  },
};

export const REMOTE_SCHEMES: readonly string[] = Object.keys(SCHEMES);

/** What a server is said to promise of what it acknowledged, where it does not say so itself. */
const DURABILITIES: readonly string[] = ["process", "crash", "power-loss"];

const SSL_MODES: Readonly<Record<string, TlsMode>> = { disable: "off", require: "insecure", "verify-full": "on" };

/**
 * @param folder What the paths of certificates are relative to.
 * @param refuse Told what is wrong and what to write; throws.
 * @returns null where the scheme is not one of a server.
 */
export function parseRemoteAddress(url: string, folder: string, refuse: (what: string) => never): RemoteAddress | null {
  const scheme = SCHEMES[url.slice(0, url.indexOf(":")).toLowerCase()];
  if (scheme === undefined) return null;
  const parts = /^[^:]+:\/\/(?:(?<login>[^/?#]*)@)?(?<hosts>[^/?#]*)(?:\/(?<name>[^?#]*))?(?:\?(?<query>[^#]*))?$/.exec(
    url,
  );
  const { login, hosts = "", name = "", query = "" } = parts?.groups ?? {};
  if (parts === null || hosts === "") return refuse(`names no server; write ${scheme.example}`);
  const parameters = readParameters(query, scheme, refuse);
  const decode = (text: string): string => {
    try {
      return decodeURIComponent(text);
    } catch {
      return refuse("has a % that is no encoded character; write a percent sign as %25");
    }
  };
  const table = scheme.kind === "dynamodb";
  if (table && name !== "") return refuse(`has something after its table; write ${scheme.example}`);
  if (scheme.named && name === "")
    return refuse(`names no ${scheme.topology ? "primary" : "database"}; write ${scheme.example}`);
  const [user, ...password] = login === undefined ? [] : login.split(":");
  const path = (parameter: string, other: string): string | null => {
    const value = parameters[parameter] ?? parameters[other];
    return value === undefined ? null : resolve(folder, value);
  };
  const { schema, region, endpoint, replicas, durability } = parameters;
  if (replicas !== undefined && !/^[135]$/.test(replicas)) return refuse(`has replicas=${replicas}; write 1, 3 or 5`);
  if (durability !== undefined && !DURABILITIES.includes(durability))
    return refuse(`has durability=${durability}; write ${DURABILITIES.join(", ")}`);
  return {
    kind: scheme.kind,
    topology: scheme.topology ?? "single",
    hosts: table ? [] : readHosts(hosts, scheme, refuse),
    user: user === undefined || user === "" ? null : decode(user),
    password: password.length === 0 ? null : decode(password.join(":")),
    name: table ? decode(hosts) : name === "" ? null : decode(name),
    tls: readTls(parameters, scheme, refuse),
    ca: path("ca", "sslrootcert"),
    cert: path("cert", "sslcert"),
    key: path("key", "sslkey"),
    prefix: parameters["prefix"] ?? null,
    connections: readConnections(parameters["connections"], refuse),
    skewMs: readSkew(parameters["skew"], refuse),
    more: Object.fromEntries(
      Object.entries({ schema, region, endpoint, replicas, durability }).filter(
        (entry): entry is [string, string] => entry[1] !== undefined,
      ),
    ),
  };
}

function readParameters(query: string, scheme: Scheme, refuse: (what: string) => never): Record<string, string> {
  const parameters: Record<string, string> = {};
  for (const [parameter, value] of new URLSearchParams(query)) {
    if (!scheme.parameters.includes(parameter)) {
      const near = closest(parameter, scheme.parameters);
      const mend = near === undefined ? `it takes ${scheme.parameters.join(", ")}` : `did you mean ${near}?`;
      return refuse(`has an unknown parameter ${JSON.stringify(parameter)}; ${mend}`);
    }
    if (parameter in parameters) return refuse(`has ${parameter} twice; write it once`);
    if (value === "") return refuse(`has an empty ${parameter}; give it a value or leave it out`);
    parameters[parameter] = value;
  }
  return parameters;
}

function readHosts(text: string, scheme: Scheme, refuse: (what: string) => never): RemoteAddress["hosts"] {
  const hosts = text.split(",").map((part) => {
    const host = /^(?<host>\[[0-9a-f:.]+\]|[^:[\]\s]+)(?::(?<port>\d{1,5}))?$/i.exec(part)?.groups;
    const port = host?.["port"] === undefined ? scheme.port : Number(host["port"]);
    if (host?.["host"] === undefined || port < 1 || port > 65_535) {
      return refuse(`has ${JSON.stringify(part)} where a host is to be; write ${scheme.example}`);
    }
    return { host: host["host"].replace(/^\[|\]$/g, ""), port };
  });
  if (hosts.length > 1 && !scheme.hosts) return refuse(`names several servers, but takes one; write ${scheme.example}`);
  return hosts;
}

function readTls(parameters: Record<string, string>, scheme: Scheme, refuse: (what: string) => never): TlsMode {
  const { tls, sslmode } = parameters;
  if (tls !== undefined && sslmode !== undefined) return refuse("has tls and sslmode; write one of them");
  if (sslmode !== undefined) {
    return SSL_MODES[sslmode] ?? refuse(`has sslmode=${sslmode}; write disable, require or verify-full`);
  }
  if (tls === undefined)
    return scheme.tls || parameters["ca"] !== undefined || parameters["sslrootcert"] !== undefined ? "on" : "off";
  if (tls !== "on" && tls !== "off" && tls !== "insecure") return refuse(`has tls=${tls}; write on, off or insecure`);
  if (tls === "off" && scheme.tls)
    return refuse("has tls=off, but its scheme says TLS; write redis without the second s");
  return tls;
}

function readSkew(text: string | undefined, refuse: (what: string) => never): number | null {
  if (text === undefined) return null;
  return parseDuration(text) ?? refuse(`has skew=${text}; write a duration such as 2s`);
}

function readConnections(text: string | undefined, refuse: (what: string) => never): number | null {
  if (text === undefined) return null;
  const connections = Number(text);
  if (/^\d{1,4}$/.test(text) && connections >= 1) return connections;
  return refuse(`has connections=${text}; write a whole number from 1 to 9999`);
}
