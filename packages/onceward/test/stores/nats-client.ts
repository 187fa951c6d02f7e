// Servers, clients and buckets for tests of NATS stores.

import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { type JetStreamManager, type JetStreamOptions, jetstream, jetstreamManager } from "@nats-io/jetstream";
import { connect, headers, type NatsConnection, type NodeConnectionOptions } from "@nats-io/transport-node";
import { lookUp, NATS, type ServiceSource } from "@onceward/services";
import { describe } from "vitest";

const source: ServiceSource = lookUp(NATS);
if (source.kind === "missing") console.error(source.reason);

/** `describe`, skipped with its reason where there is no server to be had. */
export function describeNats(title: string, body: () => void): void {
  if (source.kind === "missing") describe.skip(`${title} (skipped: ${source.reason})`, body);
  else describe(title, body);
}

/** As above, for what needs a server of its own. */
export function describePrivateNats(title: string, body: () => void): void {
  const own = lookUp({ ...NATS, variable: "" });
  if (own.kind === "missing") describe.skip(`${title} (skipped: ${own.reason})`, body);
  else describe(title, body);
}

/** As above, for what needs replicas, which servers before 2.9.21 do not change atomically (nats-server issue 4320). */
export function describeReplicatedNats(title: string, body: () => void): void {
  const own = lookUp({ ...NATS, variable: "" });
  const program = own.kind === "programs" ? (own.paths["nats-server"] ?? "") : "";
  const version =
    program === "" ? "" : (/\d+\.\d+\.\d+/.exec(execFileSync(program, ["--version"]).toString())?.[0] ?? "");
  if (version !== "" && version.localeCompare("2.9.21", "en", { numeric: true }) < 0) {
    const reason = `nats-server ${version} is on the PATH, and replicas need 2.9.21 or later`;
    console.error(`The NATS store is not tested on a cluster: ${reason}.`);
    describe.skip(`${title} (skipped: ${reason})`, body);
  } else describePrivateNats(title, body);
}

/** The server that the environment names; null where a private one is to be started. */
export const natsUrl: string | null = source.kind === "url" ? source.url : null;

export function newBucket(): string {
  return `onceward-${randomBytes(6).toString("hex")}`;
}

/** What a store is given of its user's own. */
export interface Client {
  readonly connection: NatsConnection;
  readonly jetstream: ReturnType<typeof jetstream>;
  readonly headers: typeof headers;
}

export async function client(
  url: string | readonly string[],
  change: Partial<NodeConnectionOptions> = {},
  options: Partial<JetStreamOptions> = {},
): Promise<Client> {
  const servers = typeof url === "string" ? url : [...url];
  const connection = await connect({ servers, reconnectTimeWait: 50, maxReconnectAttempts: -1, ...change });
  return { connection, jetstream: jetstream(connection, options), headers };
}

export function manager(connection: NatsConnection): Promise<JetStreamManager> {
  return jetstreamManager(connection, { checkAPI: false });
}
