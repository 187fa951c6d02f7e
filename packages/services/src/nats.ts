// NATS servers of a test's own: one, or a cluster of three, with JetStream.

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { lookUp, type ServiceNeeds } from "./look-up.js";
import { freePort, PrivateProcess, type PrivateServer, temporaryFolder } from "./private-process.js";

export const NATS: ServiceNeeds = {
  name: "NATS",
  variable: "ONCEWARD_TEST_NATS_URL",
  programs: ["nats-server"],
  install: "apt-get install nats-server",
};

export interface StartNatsOptions {
  /** Settings of its configuration beside the defaults here, such as `{ max_payload: 65536 }` or `{ jetstream: false }`. */
  readonly settings?: Readonly<Record<string, unknown>>;
}

/** Several servers that are one. */
export interface PrivateNatsCluster {
  readonly servers: readonly PrivateServer[];
  /** Resolves when all servers are there and follow one leader. */
  ready(): Promise<void>;
  /** The server that leads a stream just now; null where none does. */
  leaderOf(stream: string): Promise<PrivateServer | null>;
  remove(): Promise<void>;
}

const READY_WITHIN_MS = 60_000;

export async function startNats({ settings = {} }: StartNatsOptions = {}): Promise<PrivateServer> {
  const server = await natsServer({ port: await freePort(), monitor: await freePort() }, settings);
  return started([server], server);
}

/** Three servers on ports of the loopback, each with JetStream, ready once they have elected a leader. */
export async function startNatsCluster({ settings = {} }: StartNatsOptions = {}): Promise<PrivateNatsCluster> {
  const nodes = await Promise.all(
    Array.from({ length: 3 }, async (_, index) => ({
      name: `n${index}`,
      port: await freePort(),
      monitor: await freePort(),
      route: await freePort(),
    })),
  );
  const routes = nodes.map(({ route }) => `nats://127.0.0.1:${route}`);
  const servers = await Promise.all(
    nodes.map((node) => {
      const cluster = { name: "onceward", listen: `127.0.0.1:${node.route}`, routes };
      return natsServer(node, { server_name: node.name, cluster, ...settings });
    }),
  );
  const alive = async (path: string): Promise<unknown> => {
    for (const { monitor } of nodes) {
      const told = await ask(monitor, path);
      if (told !== null) return told;
    }
    return null;
  };
  const cluster: PrivateNatsCluster = {
    servers,
    async ready() {
      for (const until = performance.now() + READY_WITHIN_MS; !(await isWhole(nodes)); await sleep(50)) {
        if (performance.now() > until) throw new Error("The NATS cluster has not come together.");
      }
    },
    async leaderOf(stream: string) {
      const told = (await alive("/jsz?streams=true&accounts=true")) as JetStreamReport | null;
      const streams = told?.account_details?.flatMap(({ stream_detail }) => stream_detail ?? []) ?? [];
      const leader = streams.find(({ name }) => name === stream)?.cluster?.leader;
      return servers[nodes.findIndex(({ name }) => name === leader)] ?? null;
    },
    remove: () => removeAll(servers),
  };
  await started(servers, cluster);
  try {
    await cluster.ready();
    return cluster;
  } catch (error) {
    await cluster.remove();
    throw error;
  }
}

/** Whether all follow one leader, to which all others are up to date. */
async function isWhole(nodes: readonly { readonly monitor: number }[]): Promise<boolean> {
  const reports = await Promise.all(
    nodes.map(({ monitor }) => ask(monitor, "/jsz") as Promise<JetStreamReport | null>),
  );
  const leaders = new Set(reports.map((report) => report?.meta_cluster?.leader ?? ""));
  // Only the leader knows of its followers.
  const followers = reports.flatMap((report) => report?.meta_cluster?.replicas ?? []);
  const upToDate = followers.filter(({ current, offline }) => current && offline !== true);
  return leaders.size === 1 && !leaders.has("") && upToDate.length === nodes.length - 1;
}

/** What `/jsz` tells, of which we read so much. */
interface JetStreamReport {
  readonly meta_cluster?: {
    readonly leader?: string;
    readonly replicas?: readonly { readonly current: boolean; readonly offline?: boolean }[];
  };
  readonly account_details?: readonly {
    readonly stream_detail?: readonly { readonly name: string; readonly cluster?: { readonly leader?: string } }[];
  }[];
}

async function ask(monitor: number, path: string): Promise<unknown> {
  try {
    const response = await fetch(`http://127.0.0.1:${monitor}${path}`);
    return response.ok ? await response.json() : null;
  } catch {
    return null;
  }
}

async function natsServer(
  { port, monitor }: { readonly port: number; readonly monitor: number },
  settings: Readonly<Record<string, unknown>>,
): Promise<PrivateProcess> {
  const source = lookUp({ ...NATS, variable: "" });
  if (source.kind !== "programs") throw new Error(`nats-server not found. ${NATS.install}.`);
  const folder = temporaryFolder("nats");
  const data = join(folder, "data");
  mkdirSync(data);
  const file = join(folder, "nats.conf");
  const defaults = {
    listen: `127.0.0.1:${port}`,
    http: `127.0.0.1:${monitor}`,
    jetstream: { store_dir: data, max_mem: "64M", max_file: "2G" },
  };
  // Its configuration language is a superset of JSON.
  writeFileSync(file, JSON.stringify({ ...defaults, ...settings }));
  return new PrivateProcess({
    port,
    folder,
    url: `nats://127.0.0.1:${port}`,
    command: [source.paths["nats-server"] ?? "nats-server", "-c", file],
    answers: async () => (await ask(monitor, "/healthz?js-server-only=true")) !== null,
    startTimeoutMs: READY_WITHIN_MS,
  });
}

async function started<T>(servers: readonly PrivateProcess[], result: T): Promise<T> {
  try {
    await Promise.all(servers.map((server) => server.start()));
    return result;
  } catch (error) {
    await removeAll(servers);
    throw error;
  }
}

async function removeAll(servers: readonly PrivateServer[]): Promise<void> {
  await Promise.all(servers.map((server) => server.remove()));
}
