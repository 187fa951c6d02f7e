// Nodes on buckets of a private NATS server, for tests of what is particular of its store.

import { randomBytes } from "node:crypto";
import { type PrivateServer, startNats } from "@onceward/services";
import { afterAll, afterEach, beforeAll, beforeEach } from "vitest";
import type { ClaimRequest, Store } from "../../src/core/store.js";
import { type NatsStoreOptions, natsStore } from "../../src/stores/nats.js";
import { type Client, client, manager, newBucket } from "./nats-client.js";

export const SECOND = 1_000;
export const HOUR = 3_600_000;

/** A claim of a new key, but for what is given. */
export function claimOf(change: Partial<ClaimRequest> = {}): ClaimRequest {
  const labels = { account: "acme", key: "k", operation: "POST /x", runId: "r" };
  const own = { id: randomBytes(32).toString("hex"), fence: newFence(), fingerprint: null };
  return { ...own, ageMs: 0, retention: { forMs: HOUR }, leaseMs: 60 * SECOND, labels, ...change };
}

export const newFence = (): string => randomBytes(16).toString("hex");

/** An answer of so many random bytes. */
export const answer = (bytes: number) => ({ status: 200, payload: new Uint8Array(randomBytes(bytes)) });

/** As text, since comparing arrays of millions takes a minute. */
export const text = (bytes: Uint8Array | null | undefined): string | null =>
  bytes ? Buffer.from(bytes).toString("base64") : null;

export type Node = Store & { readonly client: Client };

export interface NatsBench {
  readonly server: PrivateServer;
  /** Of the test that runs just now. */
  readonly bucket: string;
  /** Done when the test is over, the last first. */
  later(work: () => unknown): void;
  connected(): Promise<Client>;
  /** A node's store with a connection of its own; nodes of one test share a bucket. */
  node(options?: Partial<NatsStoreOptions>): Promise<Node>;
  /** Keys in the bucket just now, but the two that every bucket has. */
  keys(): Promise<string[]>;
}

/** A server for the tests of the `describe` around it. */
export function natsBench(settings: Readonly<Record<string, unknown>> = {}): NatsBench {
  let server: PrivateServer;
  let bucket: string;
  const closing: (() => unknown)[] = [];
  beforeAll(async () => {
    server = await startNats({ settings });
  });
  afterAll(() => server.remove());
  beforeEach(() => {
    bucket = newBucket();
  });
  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close();
  });
  const bench: NatsBench = {
    get server() {
      return server;
    },
    get bucket() {
      return bucket;
    },
    later: (work) => void closing.push(work),
    async connected() {
      const made = await client(server.url);
      bench.later(() => made.connection.close());
      return made;
    },
    async node(options = {}) {
      const own = await bench.connected();
      const store = natsStore({ ...own, bucket, maxClockSkewMs: 0, onWarning: () => {}, ...options });
      bench.later(() => store.close());
      await store.open();
      return Object.assign(store, { client: own });
    },
    async keys() {
      const { connection } = await bench.connected();
      const { state } = await (await manager(connection)).streams.info(`KV_${bucket}`, { subjects_filter: ">" });
      const all = Object.keys(state.subjects ?? {}).map((subject) => subject.slice(`$KV.${bucket}.`.length));
      return all.filter((key) => key !== "meta" && key !== "clock");
    },
  };
  return bench;
}
