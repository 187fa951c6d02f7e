// Opening NATS stores: what is refused, each with its fix, what is warned about, and that nodes may start together.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type { StreamConfig } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import { type PrivateServer, startNats } from "@onceward/services";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { isIdempotencyError } from "../../src/core/errors.js";
import { type NatsStoreOptions, natsStore, natsStream } from "../../src/stores/nats.js";
import { type Client, client, describePrivateNats, manager, newBucket } from "./nats-client.js";

describePrivateNats("opening a NATS store", () => {
  let server: PrivateServer;
  const closing: (() => unknown)[] = [];

  beforeAll(async () => {
    server = await startNats();
  });
  afterAll(() => server.remove());
  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close();
  });

  async function connected(...args: Parameters<typeof client>): Promise<Client> {
    const made = await client(...args);
    closing.push(() => made.connection.close());
    return made;
  }

  /** Opens a store with what is given, and says what it warned about. */
  async function opened(options: Partial<NatsStoreOptions> & Client): Promise<string[]> {
    const warnings: string[] = [];
    const store = natsStore({ ...options, onWarning: (message) => warnings.push(message) });
    closing.push(() => store.close());
    await store.open();
    return warnings;
  }

  async function refusal(options: Partial<NatsStoreOptions> & Client): Promise<{ code: string; message: string }> {
    const error = await opened(options).then(
      () => new Error("it opened"),
      (reason: unknown) => reason,
    );
    if (!isIdempotencyError(error)) throw error;
    expect(error.message).not.toContain("\n");
    return { code: error.code, message: error.message };
  }

  /** A bucket with settings of its own. */
  async function bucketOf(change: Partial<StreamConfig>): Promise<string> {
    const bucket = newBucket();
    const { connection } = await connected(server.url);
    await (await manager(connection)).streams.add({ ...(natsStream({ bucket }) as StreamConfig), ...change });
    return bucket;
  }

  test("a bucket that is missing is created, as a KV bucket with history 1 on file, and found again", async () => {
    const own = await connected(server.url);
    const bucket = newBucket();
    expect(await opened({ ...own, bucket })).toEqual([]);
    const { config } = await (await manager(own.connection)).streams.info(`KV_${bucket}`);
    expect(config).toMatchObject({
      max_msgs_per_subject: 1,
      storage: "file",
      subjects: [`$KV.${bucket}.>`],
      max_age: 0,
    });
    expect(await opened({ ...own, bucket, migrate: false })).toEqual([]);
  });

  test("with migrate: false a missing one is refused with the command that creates it, and natsStream() is enough", async () => {
    const own = await connected(server.url);
    const bucket = newBucket();
    const { code, message } = await refusal({ ...own, bucket, migrate: false });
    expect(code).toBe("store_inaccessible");
    expect(message).toContain(`nats kv add ${bucket} --history 1 --storage file --replicas 1`);
    await (await manager(own.connection)).streams.add(natsStream({ bucket }));
    expect(await opened({ ...own, bucket, migrate: false })).toEqual([]);
  });

  test("options that are not possible are config_invalid", async () => {
    const own = await connected(server.url);
    const invalid = expect.objectContaining({ code: "config_invalid" });
    const wrong = [{ bucket: "a.b" }, { bucket: "" }, { replicas: 0 }, { replicas: 7 }, { maxClockSkewMs: -1 }];
    for (const options of [...wrong, { gathering: { maxBatch: 0 } }, { limits: { maxRecords: Number.NaN } }]) {
      expect(() => natsStore({ ...own, ...options })).toThrow(invalid);
    }
  });

  test("a connection that is closed is store_inaccessible", async () => {
    const own = await connected(server.url);
    await own.connection.close();
    const { code, message } = await refusal(own);
    expect([code, message]).toEqual(["store_inaccessible", expect.stringContaining("connect({ servers })")]);
  });

  test("a server without JetStream is store_inaccessible, and the fix is -js", async () => {
    const without = await startNats({ settings: { jetstream: false } });
    closing.push(() => without.remove());
    const { code, message } = await refusal(await connected(without.url));
    expect([code, message]).toEqual(["store_inaccessible", expect.stringContaining("`-js`")]);
  });

  test("an account without JetStream is store_inaccessible", async () => {
    const accounts = {
      none: { users: [{ user: "none", password: "secret" }] },
      some: { jetstream: true, users: [{ user: "some", password: "secret" }] },
    };
    const other = await startNats({ settings: { accounts } });
    closing.push(() => other.remove());
    const { code, message } = await refusal(await connected(other.url, { user: "none", pass: "secret" }));
    expect([code, message]).toEqual(["store_inaccessible", expect.stringMatching(/JetStream/)]);
    expect(await opened(await connected(other.url, { user: "some", pass: "secret" }))).toEqual([]);
  });

  test("a user without permissions is store_inaccessible, and no message holds a password", async () => {
    const users = [
      { user: "u", password: "hunter2", permissions: { publish: ["$JS.API.INFO"], subscribe: ["_INBOX.>"] } },
    ];
    const strict = await startNats({ settings: { authorization: { users } } });
    closing.push(() => strict.remove());
    const { code, message } = await refusal(await connected(strict.url, { user: "u", pass: "hunter2" }));
    expect([code, message]).toEqual(["store_inaccessible", expect.stringMatching(/Permissions Violation.*nats\.md/)]);
    expect(message).not.toContain("hunter2");
    // Wrong credentials never get that far: the client's own connect() refuses them.
    await expect(client(strict.url, { user: "u", pass: "wrong" })).rejects.toThrow(/Authorization/);
  });

  /** A connection whose server says that it is of another version. */
  function ofVersion(version: string, { connection }: Client): NatsConnection {
    return new Proxy(connection, {
      get: (target, name) => {
        if (name === "info") return { ...target.info, version };
        const value = Reflect.get(target, name);
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
  }

  test("more replicas than the cluster has servers is store_inaccessible, and the fix is `replicas`", async () => {
    const own = await connected(server.url);
    const options = { ...own, bucket: newBucket(), replicas: 3, connection: ofVersion("2.10.0", own) };
    const { code, message } = await refusal(options);
    expect([code, message]).toEqual(["store_inaccessible", expect.stringContaining("`replicas`")]);
  });

  test("P1 replicas on a server whose compare-and-set is not atomic are store_unsuitable, and no bucket is made", async () => {
    const own = await connected(server.url);
    const bucket = newBucket();
    for (const version of ["2.9.0", "2.9.10", "2.9.20"]) {
      const options = { ...own, bucket, replicas: 3, connection: ofVersion(version, own) };
      const { code, message } = await refusal(options);
      expect([code, message]).toEqual([
        "store_unsuitable",
        expect.stringMatching(/2\.9\.21 or later, or use .*replicas 1/),
      ]);
    }
    for (const version of ["2.9.21", "2.10.0", "2.10.27-RC.1", "2.11.4", "3.0.0"]) {
      const options = { ...own, bucket, replicas: 3, connection: ofVersion(version, own) };
      expect((await refusal(options)).code).toBe("store_inaccessible");
    }
    await expect((await manager(own.connection)).streams.info(`KV_${bucket}`)).rejects.toThrow(/not found/);
  });

  test("a bucket that holds something else is store_foreign and stays as it was", async () => {
    const bucket = await bucketOf({});
    const own = await connected(server.url);
    await own.jetstream.publish(`$KV.${bucket}.r.other`, "something else");
    const { code, message } = await refusal({ ...own, bucket });
    expect([code, message]).toEqual(["store_foreign", expect.stringContaining("`bucket`")]);
    expect((await (await manager(own.connection)).streams.info(`KV_${bucket}`)).state.messages).toBe(1);
  });

  test("a bucket of a newer version is store_schema_newer", async () => {
    const bucket = await bucketOf({});
    const own = await connected(server.url);
    const note = own.headers();
    note.set("Onceward", "meta");
    await own.jetstream.publish(`$KV.${bucket}.meta`, '{"store":"onceward","layout":2}', { headers: note });
    const { code, message } = await refusal({ ...own, bucket });
    expect([code, message]).toEqual(["store_schema_newer", expect.stringContaining("upgrade this node")]);
  });

  const unsuitable: [string, Partial<StreamConfig>, RegExp][] = [
    ["a TTL", { max_age: 90_000_000_000_000 }, /TTL of 90000 s .* Give it none/],
    ["denied purging", { deny_purge: true, allow_rollup_hdrs: false }, /purg/],
    ["old records that are discarded", { max_bytes: 1e6, discard: "old" as StreamConfig["discard"] }, /discard/],
    ["no acknowledgements", { no_ack: true }, /no_ack/],
    ["messages that are too small", { max_msg_size: 8_192 }, /max_payload/],
    ["a work queue's retention", { retention: "workqueue" as StreamConfig["retention"] }, /workqueue/],
  ];
  test.each(unsuitable)("a bucket with %s is store_unsuitable", async (_what, change, reason) => {
    const bucket = await bucketOf(change);
    const { code, message } = await refusal({ ...(await connected(server.url)), bucket });
    expect([code, message]).toEqual(["store_unsuitable", expect.stringMatching(reason)]);
  });

  test("a mirror is store_unsuitable: claims are never made on a replica", async () => {
    const mirrored = await bucketOf({});
    const bucket = newBucket();
    const { connection } = await connected(server.url);
    const mirror = { name: `KV_${mirrored}` };
    await (await manager(connection)).streams.add({ name: `KV_${bucket}`, mirror, storage: "file" as never });
    const { code, message } = await refusal({ ...(await connected(server.url)), bucket });
    expect([code, message]).toEqual(["store_unsuitable", expect.stringContaining("mirror")]);
  });

  test("a server before 2.9 is store_unsuitable", async () => {
    const own = await connected(server.url);
    const { code, message } = await refusal({ ...own, connection: ofVersion("2.8.4", own) });
    expect([code, message]).toEqual(["store_unsuitable", expect.stringContaining("2.8.4")]);
  });

  test("a bucket in memory is warned about and promises no more than the process", async () => {
    const bucket = await bucketOf({ storage: "memory" as StreamConfig["storage"] });
    const warnings: string[] = [];
    const options = { ...(await connected(server.url)), bucket, durability: "power-loss" as const };
    const store = natsStore({ ...options, onWarning: (message) => warnings.push(message) });
    closing.push(() => store.close());
    await store.open();
    expect(store.info.durability).toBe("process");
    expect(warnings).toEqual([expect.stringMatching(/in memory.*Use file storage/)]);
  });

  test("durability is `crash` on file, unless the servers are said to sync each write", async () => {
    const own = await connected(server.url);
    const bucket = newBucket();
    for (const [declared, expected] of [
      [{}, "crash"],
      [{ durability: "power-loss" }, "power-loss"],
    ] as const) {
      const store = natsStore({ ...own, bucket, ...declared });
      closing.push(() => store.close());
      await store.open();
      expect(store.info).toMatchObject({ durability: expected, shared: true, maxClockSkewMs: 2_000 });
    }
  });

  test("a bounded bucket is warned about", async () => {
    const bucket = await bucketOf({ max_bytes: 10_000_000 });
    const warnings = await opened({ ...(await connected(server.url)), bucket });
    expect(warnings).toEqual([expect.stringMatching(/max_bytes 10000000/)]);
  });

  for (const [how, offMs] of [
    ["ahead of", 5_000],
    ["behind", -5_000],
  ] as const) {
    test(`4.3 a node whose clock is ${how} the server's by more than the skew allows is warned about once`, async () => {
      const bucket = newBucket();
      const own = await connected(server.url);
      const warnings = await opened({ ...own, bucket, now: () => Date.now() + offMs });
      expect(warnings).toEqual([expect.stringMatching(new RegExp(`clock is [45]\\d{3} ms ${how} the NATS server's`))]);
      expect(await opened({ ...own, bucket, maxClockSkewMs: 20_000, now: () => Date.now() + offMs })).toEqual([]);
    });
  }

  test("four processes that start at the same moment, on a bucket that is not there, all open it", async () => {
    const bucket = newBucket();
    const module = fileURLToPath(new URL("./children/nats-store.js", import.meta.url));
    const argument = JSON.stringify({ url: server.url, bucket, now: Date.now() });
    const script = `const { createStore } = await import(process.argv[1]); const store = createStore(process.argv[2]);
      await store.open(); await store.setShared("started", new Uint8Array(1), null); await store.close();`;
    const exits = Array.from({ length: 4 }, async () => {
      const args = ["--input-type=module", "-e", script, module, argument];
      const [code] = await once(spawn(process.execPath, args, { stdio: "inherit" }), "exit");
      return code;
    });
    expect(await Promise.all(exits)).toEqual([0, 0, 0, 0]);
    expect(await opened({ ...(await connected(server.url)), bucket, migrate: false })).toEqual([]);
  });
});
