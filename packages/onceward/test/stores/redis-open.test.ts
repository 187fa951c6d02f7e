// What the Redis store refuses to open and warns of, each in one line that says how to mend it.

import { freePort, type PrivateServer, redisCommand, startRedis } from "@onceward/services";
import { Redis } from "ioredis";
import { createClient } from "redis";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { type RedisClientLike, type RedisStoreOptions, redisStore } from "../../src/stores/redis.js";
import { claimOf } from "../../src/testing/store-suite/suite-case.js";
import { type NodeKind, nodesBench } from "./redis-kit.js";
import { noRedis } from "./redis-place.js";

const KINDS: readonly NodeKind[] = ["ioredis", "node-redis"];

describe("redisStore's options", () => {
  const client = { callBuffer: async () => null, options: {} } as unknown as RedisClientLike;
  const prefixed = { callBuffer: async () => null, options: { keyPrefix: "app:" } } as unknown as RedisClientLike;
  it.each<readonly [string, Partial<RedisStoreOptions>, RegExp]>([
    ["no client", { client: undefined as unknown as RedisClientLike }, /needs a `client`: of ioredis/],
    ["something else for a client", { client: {} as RedisClientLike }, /needs a `client`/],
    ["a client that changes keys", { client: prefixed }, /keyPrefix "app:".*the option `prefix`/],
    ["a prefix with braces", { prefix: "{a}:" }, /`prefix` is "\{a\}:"/],
    ["an empty prefix", { prefix: "" }, /`prefix` is ""/],
    ["no room for any operation", { maxQueued: 0 }, /`maxQueued` is 0/],
    ["half a batch", { gathering: { maxBatch: 0.5 } }, /`maxBatch` is 0.5/],
    ["a limit that is no number", { limits: { maxRecords: Number.NaN } }, /`maxRecords` is NaN/],
  ])("14.1 %s is refused at once, with the option's name", (_, options, message) => {
    expect(() => redisStore({ client, ...options })).toThrow(
      expect.objectContaining({ code: "config_invalid", message: expect.stringMatching(message) }),
    );
  });
});

describe.skipIf(noRedis !== null)("opening the Redis store", () => {
  const bench = nodesBench();
  let server: PrivateServer;
  let admin: Redis;
  beforeAll(async () => {
    server = await startRedis();
    admin = new Redis(server.url);
  });
  afterAll(async () => {
    admin?.disconnect();
    await server?.remove();
  });

  async function refusal(kind: NodeKind, url: string, options: Partial<RedisStoreOptions> = {}): Promise<Error> {
    try {
      await bench.node(kind, { url }, options);
    } catch (error) {
      return error as Error;
    }
    throw new Error("The store was opened.");
  }

  const refused = (code: string, message: RegExp) => ({ code, message: expect.stringMatching(message) });

  it("names where nobody answers, and gives up in time", async () => {
    const url = `redis://127.0.0.1:${await freePort()}`;
    const error = await refusal("ioredis", url, { maxWaitMs: 500 });
    expect(error).toMatchObject(refused("store_inaccessible", /out of reach.*ECONNREFUSED.*Check its address/));
  });

  it("says that a client of node-redis is to be connected first", async () => {
    const client = createClient({ url: server.url });
    await expect(redisStore({ client }).open()).rejects.toMatchObject(
      refused("store_inaccessible", /not connected: `await client.connect\(\)`/),
    );
  });

  // node-redis refuses them in connect() already.
  it("says that credentials are wrong or missing, and shows none", async () => {
    const guarded = await startRedis({ settings: { requirepass: "right-secret", appendonly: "no" } });
    bench.after(() => guarded.remove());
    expect(await refusal("ioredis", guarded.url)).toMatchObject(refused("store_inaccessible", /credentials \(NOAUTH/));
    const error = await refusal("ioredis", guarded.url.replace("//", "//:wrong-secret@"));
    expect(error).toMatchObject(refused("store_inaccessible", /credentials.*`username` and `password`/));
    expect(`${error.message} ${String(error.cause)}`).not.toMatch(/secret/);
  });

  describe("a user of few rights", () => {
    const user = async (...rules: string[]) => {
      await admin.call("ACL", "SETUSER", "limited", "reset", "on", ">pass", ...rules);
      return server.url.replace("//", "//limited:pass@");
    };
    afterEach(() => admin.call("ACL", "DELUSER", "limited"));

    it("is told each command that it lacks, and what an administrator is to say", async () => {
      const url = await user("~*", "&*", "+@all", "-xadd", "-publish");
      expect(await refusal("ioredis", url)).toMatchObject(
        refused(
          "store_inaccessible",
          /the store needs: XADD, PUBLISH \(.*ACL SETUSER <user> ~t-\w+:\* &t-\w+:\* \+@read/,
        ),
      );
    });

    it("is told that scripts, keys or channels are kept from it", async () => {
      expect(await refusal("ioredis", await user("~*", "&*", "+@all", "-@scripting"))).toMatchObject(
        refused("store_inaccessible", /NOPERM.*ACL SETUSER/),
      );
      expect(await refusal("node-redis", await user("~other:*", "&*", "+@all"))).toMatchObject(
        refused("store_inaccessible", /NOPERM.*ACL SETUSER/),
      );
      expect(await refusal("ioredis", await user("~*", "&other", "+@all"))).toMatchObject(
        refused("store_inaccessible", /PUBLISH/),
      );
    });

    it("needs no more than the docs say", async () => {
      const warnings: string[] = [];
      const url = await user(
        `~${bench.prefix}*`,
        `&${bench.prefix}*`,
        ..."+@read +@write +@scripting +@pubsub +@connection +time +info +config|get".split(" "),
      );
      for (const kind of KINDS) {
        const store = await bench.node(kind, { url }, { onWarning: (message) => warnings.push(message) });
        expect((await store.claim(claimOf())).outcome).toBe("claimed");
        expect((await store.list({ limit: 1 })).items.length).toBe(1);
        expect(await store.purge(10)).toBe(0);
        await store.setShared("name", new Uint8Array(1), null);
        await store.history?.trimRuns(1, 1);
      }
      expect(warnings).toEqual([]);
    });

    it("that may not ask for settings is warned that they are not known, unless `durability` says them", async () => {
      const url = await user("~*", "&*", "+@all", "-config", "-info");
      const warnings: string[] = [];
      const onWarning = (message: string) => warnings.push(message);
      const store = await bench.node("ioredis", { url }, { onWarning });
      expect(store.info.durability).toBe("process");
      expect(warnings).toEqual([
        expect.stringMatching(/run INFO: neither its version nor its eviction policy is known/),
        expect.stringMatching(/CONFIG GET: how often.*the option `durability`/),
      ]);
      warnings.length = 0;
      const told = await bench.node("node-redis", { url }, { onWarning, durability: "power-loss" });
      expect(told.info.durability).toBe("power-loss");
      expect(warnings).toEqual([expect.stringMatching(/INFO/)]);
      expect((await told.claim(claimOf())).outcome).toBe("claimed");
    });
  });

  it.each(KINDS)("refuses a replica (%s): never claim from a read replica", async (kind) => {
    const replica = await startRedis({ settings: { replicaof: `127.0.0.1 ${server.port}` } });
    bench.after(() => replica.remove());
    expect(await refusal(kind, replica.url)).toMatchObject(
      refused("store_unsuitable", /a replica.*Give the store a client of the primary/),
    );
  });

  it.each(KINDS)("refuses a node of a cluster through a client of one server (%s)", async (kind) => {
    const node = await startRedis({ settings: { "cluster-enabled": "yes", "cluster-port": await freePort() } });
    bench.after(() => node.remove());
    await redisCommand(node, "CLUSTER", "ADDSLOTSRANGE", 0, 16_383);
    await expect.poll(() => redisCommand(node, "CLUSTER", "INFO"), { timeout: 20_000 }).toMatch(/cluster_state:ok/);
    expect(await refusal(kind, node.url)).toMatchObject(refused("store_unsuitable", /Give the store a cluster client/));
  });

  it("refuses one server through a cluster client", async () => {
    const opening = bench.node("ioredis", { cluster: [server.url] }, { maxWaitMs: 2_000 });
    await expect(opening).rejects.toMatchObject(
      refused("store_unsuitable", /no cluster\. Give the store a client of one/),
    );
  });

  it("refuses a server that is too old", async () => {
    const client = new Redis(server.url);
    bench.after(() => client.disconnect());
    const old = new Proxy(client, {
      get(target, name) {
        if (name !== "callBuffer") return Reflect.get(target, name);
        return async (command: string, args: string[]) => {
          const reply = (await target.callBuffer(command, args)) as Buffer;
          return command === "info"
            ? Buffer.from(reply.toString().replace(/redis_version:.*/, "redis_version:5.0.14"))
            : reply;
        };
      },
    });
    await expect(redisStore({ client: old }).open()).rejects.toMatchObject(
      refused("store_unsuitable", /is 5\.0\.14; the store needs 6\.2 or later, or Valkey/),
    );
  });

  it("14.5 refuses keys of a newer version, and keys that are somebody else's, and touches neither", async () => {
    await admin.set(`${bench.prefix}layout`, "2");
    expect(await refusal("ioredis", server.url)).toMatchObject(
      refused("store_schema_newer", /newer version of Onceward \(layout 2; this one knows up to 1\)/),
    );
    await admin.set(`${bench.prefix}layout`, "A4");
    expect(await refusal("ioredis", server.url)).toMatchObject(
      refused("store_foreign", /layout is not one of Onceward's.*another `prefix`/),
    );
    await admin.del(`${bench.prefix}layout`);
    await admin.lpush(`${bench.prefix}layout`, "x");
    expect(await refusal("node-redis", server.url)).toMatchObject({ code: "store_foreign" });
    await admin.del(`${bench.prefix}layout`);
    await admin.set(`${bench.prefix}records`, "mine");
    expect(await refusal("ioredis", server.url)).toMatchObject(refused("store_foreign", /records is not one/));
    expect(await admin.get(`${bench.prefix}records`)).toBe("mine");
    expect(await admin.keys(`${bench.prefix}*`)).toEqual([`${bench.prefix}records`]);
  });

  it("4.1 may be opened by many nodes at once, the first ones of all", async () => {
    const nodes = await Promise.all(
      Array.from({ length: 8 }, (_, index) => bench.node(KINDS[index % 2] ?? "ioredis", { url: server.url })),
    );
    for (const store of nodes) expect((await store.claim(claimOf())).outcome).toBe("claimed");
    expect(await admin.get(`${bench.prefix}layout`)).toBe("1");
  });

  describe("what it warns of", () => {
    const warningsWith = async (settings: Readonly<Record<string, string>>) => {
      for (const [name, value] of Object.entries(settings)) {
        const [, before = ""] = (await admin.config("GET", name)) as string[];
        bench.after(() => admin.config("SET", name, before));
        await admin.config("SET", name, value);
      }
      const warnings: string[] = [];
      const store = await bench.node(
        "ioredis",
        { url: server.url },
        { onWarning: (message) => warnings.push(message) },
      );
      return { warnings, durability: store.info.durability };
    };

    it("is nothing where each write is synced and nothing evicted", async () => {
      expect(await warningsWith({})).toEqual({ warnings: [], durability: "power-loss" });
    });

    it.each(["allkeys-lru", "allkeys-random", "volatile-ttl", "volatile-lfu"])(
      "is an eviction policy: %s",
      async (policy) => {
        const { warnings } = await warningsWith({ "maxmemory-policy": policy });
        expect(warnings).toEqual([
          expect.stringMatching(
            new RegExp(`^Redis has maxmemory-policy ${policy}:.*Set maxmemory-policy noeviction\\.$`),
          ),
        ]);
      },
    );

    it.each([
      ["everysec", "crash"],
      ["no", "crash"],
    ])("is appendfsync %s, and what it keeps is declared: %s", async (fsync, durability) => {
      const found = await warningsWith({ appendfsync: fsync });
      expect(found.durability).toBe(durability);
      expect(found.warnings).toEqual([
        expect.stringMatching(
          new RegExp(`^Redis has appendfsync ${fsync}: a loss of power.*Set appendfsync always\\.$`),
        ),
      ]);
    });

    it("is a server that keeps nothing, also where it has snapshots", async () => {
      for (const save of ["", "60 1"]) {
        const found = await warningsWith({ appendonly: "no", save });
        expect(found.durability).toBe("process");
        expect(found.warnings).toEqual([
          expect.stringMatching(/keeps no append-only file:.*Set appendonly yes and appendfsync always\.$/),
        ]);
      }
    });
  });
});
