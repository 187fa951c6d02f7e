// What Fastify's own means do behind the plugin.

import { Readable } from "node:stream";
import Fastify, {
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  type FastifyServerOptions,
} from "fastify";
import { describe, expect, it, onTestFinished } from "vitest";
import { type FastifyIdempotencyOptions, idempotency } from "../../src/adapters/fastify.js";
import { memoryStore } from "../../src/stores/memory.js";
import { exchange, post, raw, unmarked, until } from "../http/node-kit.js";

type Given = Partial<FastifyIdempotencyOptions>;

function guard(given: Given = {}) {
  const store = memoryStore();
  const plugin = idempotency({ store, account: () => "alice", background: false, ...given });
  const state = async (): Promise<string> => (await store.list({ limit: 9 })).items.map((one) => one.state).join();
  return { plugin, store, state };
}

async function start(
  add: (app: FastifyInstance) => void | Promise<void>,
  given?: Given,
  server?: FastifyServerOptions,
) {
  const { plugin, store, state } = guard(given);
  const app = Fastify({ forceCloseConnections: true, ...server } as object) as unknown as FastifyInstance;
  await app.register(plugin);
  await add(app);
  const url = await app.listen({ port: 0, host: "127.0.0.1" });
  onTestFinished(() => app.close());
  return { app, port: Number(new URL(url).port), store, state };
}

const json = (key: string | null, body: unknown): string =>
  post(key, JSON.stringify(body), ["Content-Type: application/json", "Connection: close"]);

describe("fastify", () => {
  const answers: Readonly<Record<string, (reply: FastifyReply) => unknown>> = {
    "an object": () => ({ a: 1 }),
    "an empty text": () => "",
    false: (reply) => reply.send(false),
    "a status alone": (reply) => reply.code(204).send(),
    bytes: () => Buffer.from([0, 255, 1]),
    "a stream": () => Readable.from(["one ", "two"]),
    "a web stream": () => new Blob(["one ", "two"]).stream(),
    "a Response": () => new Response("from a Response", { status: 203, headers: { "X-A": "1" } }),
    "a Response that streams": () => new Response(new Blob(["one ", "two"]).stream()),
    "a redirect": (reply) => reply.redirect("/elsewhere", 303),
    cookies: (reply) => reply.header("x-a", ["1", "2"]).send("a"),
    "an error": () => {
      throw new Error("boom");
    },
    "an error with a status": () => {
      throw Object.assign(new Error("no"), { statusCode: 418 });
    },
    "with trailers, which are dropped": (reply) => {
      reply.trailer("x-sum", async () => "1");
      return reply.send("a");
    },
    "past Fastify, by hijack": (reply) => {
      reply.hijack();
      reply.raw.writeHead(202, { "X-A": "1" });
      setTimeout(() => reply.raw.end("by itself"), 5);
    },
  };
  for (const [what, answer] of Object.entries(answers)) {
    it(`P2 ${what} is replayed as it was`, async () => {
      let runs = 0;
      const { port } = await start((app) => {
        app.post("/transfers", async (_request, reply) => {
          runs++;
          return answer(reply);
        });
      });
      const first = await exchange(port, post("k"));
      expect(unmarked(await exchange(port, post("k")))).toBe(first);
      expect(runs).toBe(1);
    });
  }

  describe("what is refused before the handler claims nothing (SPEC §4.5)", () => {
    const schema = { body: { type: "object", required: ["amount"], properties: { amount: { type: "integer" } } } };
    const ways: Readonly<Record<string, (app: FastifyInstance) => void>> = {
      "by the schema": (app) => void app.post("/transfers", { schema }, async () => ({ ran: true })),
      "in onRequest": (app) =>
        void app.post("/transfers", {
          onRequest: async (request, reply) => {
            if (request.headers["x-late"] === undefined) await reply.code(401).send({ who: "?" });
          },
          handler: async () => ({ ran: true }),
        }),
      "in preHandler of the route": (app) =>
        void app.post("/transfers", {
          preHandler: async (request, reply) => {
            if ((request.body as { amount?: number }).amount === undefined) await reply.code(403).send({ no: 1 });
          },
          handler: async () => ({ ran: true }),
        }),
    };
    for (const [how, add] of Object.entries(ways)) {
      it(how, async () => {
        const { port, state } = await start(add);
        expect(await exchange(port, json("k", {}))).toMatch(/^HTTP\/1\.1 4/);
        expect(await state()).toBe("");
        const good = json("k", { amount: 1 }).replace("Content-Type", "X-Late: 1\r\nContent-Type");
        expect(await exchange(port, good)).toMatch(/\{"ran":true\}$/);
        expect(await state()).toBe("done");
      });
    }

    it("by Fastify's bound on bodies", async () => {
      const { port, state } = await start((app) => void app.post("/transfers", { bodyLimit: 20 }, async () => "ran"));
      const large = json("k", { note: "x".repeat(100) });
      expect(await exchange(port, large)).toMatch(/^HTTP\/1\.1 413 [\s\S]*FST_ERR_CTP_BODY_TOO_LARGE/);
      const chunked = large
        .replace(/Content-Length: \d+/, "Transfer-Encoding: chunked")
        .replace(/\{.*\}$/, (body) => `${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`);
      expect(await exchange(port, chunked)).toMatch(/^HTTP\/1\.1 413 [\s\S]*FST_ERR_CTP_BODY_TOO_LARGE/);
      expect(await state()).toBe("");
    });

    it("since there is no such route", async () => {
      const { port, state } = await start((app) => void app.setNotFoundHandler(async () => ({ none: true })));
      expect(await exchange(port, json("k", {}))).toMatch(/\{"none":true\}$/);
      expect(await state()).toBe("");
    });

    it("by JSON that is none", async () => {
      const { port, state } = await start((app) => void app.post("/transfers", async () => "ran"));
      expect(await exchange(port, json("k", {}).replace("{}", "}{"))).toMatch(/^HTTP\/1\.1 400/);
      expect(await state()).toBe("");
    });
  });

  it("onSend runs for first answers and refusals, and not for replays, which have what it made", async () => {
    const sent: number[] = [];
    const { port } = await start(
      (app) => {
        app.addHook("onSend", async (_request, reply, payload) => {
          sent.push(reply.statusCode);
          reply.header("x-sent", String(sent.length));
          return typeof payload === "string" ? payload.toUpperCase() : payload;
        });
        app.post("/transfers", async () => "small");
      },
      { required: true },
    );
    const first = await exchange(port, post("k"));
    expect(first).toMatch(/x-sent: 1[\s\S]*SMALL$/);
    expect(unmarked(await exchange(port, post("k")))).toBe(first);
    expect(await exchange(port, post(null))).toMatch(/^HTTP\/1\.1 400 [\s\S]*x-sent: 2/);
    expect(sent).toEqual([200, 400]);
  });

  it("onResponse runs for every answer", async () => {
    const statuses: number[] = [];
    const { port } = await start((app) => {
      app.addHook("onResponse", async (_request, reply) => void statuses.push(reply.raw.statusCode));
      app.post("/transfers", async (_request, reply) => reply.code(201).send("a"));
    });
    await exchange(port, post("k"));
    await exchange(port, post("k"));
    await until(() => statuses.length === 2);
    expect(statuses).toEqual([201, 201]);
  });

  it("4.8 the answer of setErrorHandler is recorded", async () => {
    const { port } = await start((app) => {
      app.setErrorHandler((error, _request, reply) => void reply.code(422).send({ failed: String(error) }));
      app.post("/transfers", async () => {
        throw new Error("boom");
      });
    });
    const first = await exchange(port, post("k"));
    expect(first).toMatch(/^HTTP\/1\.1 422 [\s\S]*\{"failed":"Error: boom"\}$/);
    expect(unmarked(await exchange(port, post("k")))).toBe(first);
  });

  it("4.8 a stream that fails before its first byte is answered by the error handler, and that is recorded", async () => {
    const { port } = await start((app) => {
      app.post("/transfers", async () => {
        const source = new Readable({ read() {} });
        setTimeout(() => source.destroy(new Error("boom")), 5);
        return source;
      });
    });
    const first = await exchange(port, post("k"));
    expect(first).toMatch(/^HTTP\/1\.1 500 [\s\S]*boom/);
    expect(unmarked(await exchange(port, post("k")))).toBe(first);
  });

  it("4.9 a stream that fails in the middle leaves the outcome unknown", async () => {
    const { port, state } = await start((app) => {
      app.post("/transfers", async () => {
        const source = new Readable({ read() {} });
        source.push("half");
        setTimeout(() => source.destroy(new Error("boom")), 5);
        return source;
      });
    });
    expect(await exchange(port, post("k"))).toMatch(/"code":"outcome_unknown"/);
    expect(await state()).toBe("unknown");
  });

  for (const [what, answer] of [
    ["a text", () => "done"],
    ["a stream", () => Readable.from(["do", "ne"])],
    ["a web stream", () => new Blob(["done"]).stream()],
    [
      "nothing, which Fastify does not even send then",
      (reply: FastifyReply) => {
        reply.code(204);
        return undefined;
      },
    ],
  ] as const) {
    it(`4.7 ${what} is recorded although its client went away`, async () => {
      let goOn = (): void => {};
      const { port, state } = await start((app) => {
        app.post("/transfers", async (_request, reply) => {
          await new Promise<void>((resolve) => {
            goOn = resolve;
          });
          return answer(reply);
        });
      });
      const client = raw(port, post("k", "", []));
      await until(async () => (await state()) === "running");
      client.socket.destroy();
      await new Promise((resolve) => setTimeout(resolve, 20));
      goOn();
      await until(async () => (await state()) === "done");
      expect(await exchange(port, post("k"))).toMatch(/^HTTP\/1\.1 20[04]/);
    });
  }

  describe("options of a route", () => {
    it("stand in place of the plugin's", async () => {
      const { port } = await start((app) => {
        app.post("/transfers", { config: { idempotency: { required: true, marker: "X-Again" } } }, async () => "a");
      });
      expect(await exchange(port, post(null))).toMatch(/"code":"key_missing"/);
      await exchange(port, post("k"));
      expect(await exchange(port, post("k"))).toMatch(/X-Again: true/);
    });

    it("false: it is not behind the plugin", async () => {
      let runs = 0;
      const { port } = await start((app) => {
        app.post("/transfers", { config: { idempotency: false } }, async () => ++runs);
      });
      await exchange(port, post("k"));
      expect(await exchange(port, post("k"))).toMatch(/\r\n\r\n2$/);
    });

    it("that are not valid are refused when the route is declared", async () => {
      const { plugin } = guard();
      const app = Fastify();
      await app.register(plugin);
      const declare = (options: object) => () =>
        app.post("/transfers", { config: { idempotency: options } }, async () => "a");
      expect(declare({ retentoin: "1h" })).toThrow(/retentoin/);
      expect(declare({ store: memoryStore() })).toThrow(/`store` is set for the middleware/);
      await app.close();
    });

    it("12 with a profile start from that profile", async () => {
      const { port } = await start(
        (app) => {
          app.post("/transfers", { config: { idempotency: { profile: "stripe" } } }, async () => "a");
        },
        { required: true, marker: "X-Again" },
      );
      expect(await exchange(port, post(null))).toMatch(/^HTTP\/1\.1 200/);
      expect(await exchange(port, post("k".repeat(256)))).toMatch(/\{"error":\{/);
    });
  });

  it("a route that was declared before the plugin was loaded is behind it too", async () => {
    const { plugin, state } = guard();
    const app = Fastify({ forceCloseConnections: true });
    app.register(plugin);
    let runs = 0;
    app.post("/transfers", async () => ++runs);
    const url = await app.listen({ port: 0, host: "127.0.0.1" });
    onTestFinished(() => app.close());
    const port = Number(new URL(url).port);
    await exchange(port, post("k"));
    expect(await exchange(port, post("k"))).toMatch(/Idempotent-Replayed/);
    expect([runs, await state()]).toEqual([1, "done"]);
  });

  it("covers its own instance, and what is within", async () => {
    const { port, state } = await start(() => {}, {});
    expect([port > 0, await state()]).toEqual([true, ""]);
    const { plugin } = guard();
    const app = Fastify({ forceCloseConnections: true });
    await app.register(async (scope) => {
      await scope.register(plugin);
      await scope.register(async (inner) => void inner.post("/inner", async () => "inner"));
      scope.post("/scope", async () => "scope");
    });
    app.post("/outside", async () => "outside");
    onTestFinished(() => app.close());
    const replayed = async (url: string): Promise<unknown> => {
      const send = () => app.inject({ method: "POST", url, headers: { "idempotency-key": url } });
      await send();
      return (await send()).headers["idempotent-replayed"];
    };
    expect(await replayed("/inner")).toBe("true");
    expect(await replayed("/scope")).toBe("true");
    expect(await replayed("/outside")).toBeUndefined();
  });

  it("works under inject, which tests of applications use", async () => {
    const { plugin } = guard();
    const app = Fastify();
    await app.register(plugin);
    app.post("/transfers", async (request, reply) => reply.code(201).send({ got: request.body }));
    onTestFinished(() => app.close());
    const send = () =>
      app.inject({ method: "POST", url: "/transfers", headers: { "idempotency-key": "k" }, payload: { a: 1 } });
    const first = await send();
    expect([first.statusCode, first.body]).toEqual([201, '{"got":{"a":1}}']);
    const second = await send();
    expect([second.statusCode, second.body, second.headers["idempotent-replayed"]]).toEqual([201, first.body, "true"]);
  });

  it("5.6 exact: the bytes are compared, although the parser leaves none", async () => {
    const { port } = await start((app) => void app.post("/transfers", async (request) => request.body));
    await exchange(port, json("k", { a: 1, b: 2 }));
    const spaced = post("k", '{"a":1, "b":2}', ["Content-Type: application/json", "Connection: close"]);
    expect(await exchange(port, spaced)).toMatch(/^HTTP\/1\.1 422/);
  });

  it("5.5 a body that nobody parses is there for the handler", async () => {
    const { port } = await start((app) => {
      app.addContentTypeParser("application/x-own", (_request, payload, done) => done(null, payload));
      app.post("/transfers", async (request: FastifyRequest) => {
        let text = "";
        for await (const chunk of request.body as AsyncIterable<Buffer>) text += chunk;
        return `got ${text}`;
      });
    });
    const request = (body: string): string => post("k", body, ["Content-Type: application/x-own", "Connection: close"]);
    expect(await exchange(port, request("hello"))).toMatch(/got hello$/);
    expect(await exchange(port, request("hello"))).toMatch(/Idempotent-Replayed/);
    expect(await exchange(port, request("hallo"))).toMatch(/^HTTP\/1\.1 422/);
  });

  it("7.1 what was set on the reply goes with a transaction's answer", async () => {
    const { port } = await start((app) => {
      app.post("/transfers", async (request, reply) => {
        reply.header("x-set", "1");
        const run = async (work: (tx: object) => unknown) => ({ outcome: "committed", value: await work({}) });
        await request.idempotency.transaction({ dialect: "sqlite", synchronous: false, run } as never, () => ({
          status: 201,
          body: "t",
        }));
      });
    });
    expect(await exchange(port, post(null))).toMatch(/^HTTP\/1\.1 201 [\s\S]*x-set: 1[\s\S]*\r\n\r\nt$/);
  });

  it("app.close() lets go of the store", async () => {
    const { plugin, store } = guard();
    const app = Fastify();
    await app.register(plugin);
    await app.ready();
    await plugin.ready();
    await app.close();
    await expect(store.list({ limit: 1 })).rejects.toThrow(/closed/);
  });
});
