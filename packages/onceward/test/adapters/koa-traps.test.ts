// What Koa's own means do behind the middleware.

import { Readable } from "node:stream";
import Koa, { type Context } from "koa";
import { describe, expect, it, onTestFinished } from "vitest";
import { idempotency, type KoaIdempotency } from "../../src/adapters/koa.js";
import { memoryStore } from "../../src/stores/memory.js";
import { exchange, listen, post, raw, unmarked, until } from "../http/node-kit.js";

async function start(add: (app: Koa, guard: KoaIdempotency) => void) {
  const store = memoryStore();
  const guard = idempotency({ store, account: () => "alice", background: false });
  const app = new Koa();
  const errors: string[] = [];
  app.on("error", (error) => errors.push(String(error)));
  add(app, guard);
  const { port } = await listen(app.callback());
  onTestFinished(() => guard.close());
  const state = async (): Promise<string> => (await store.list({ limit: 9 })).items.map((one) => one.state).join();
  return { port, state, errors };
}

describe("koa", () => {
  const answers: Readonly<Record<string, (ctx: Context) => unknown>> = {
    "an object": (ctx) => {
      ctx.body = { a: 1 };
    },
    "a text": (ctx) => {
      ctx.body = "a text";
    },
    "an empty text": (ctx) => {
      ctx.body = "";
    },
    false: (ctx) => {
      ctx.body = false;
    },
    null: (ctx) => {
      ctx.body = null;
    },
    bytes: (ctx) => {
      ctx.body = Buffer.from([0, 255, 1]);
    },
    "a stream": (ctx) => {
      ctx.body = Readable.from(["one ", "two"]);
    },
    "a web stream": (ctx) => {
      ctx.body = new Blob(["one ", "two"]).stream();
    },
    "a Response": (ctx) => {
      ctx.body = new Response("from a Response", { status: 203, headers: { "X-A": "1" } });
    },
    "nothing, which is Koa's 404": () => {},
    "a redirect": (ctx) => ctx.redirect("/elsewhere"),
    "what was thrown with a status": (ctx) => ctx.throw(418, "teapot"),
    "an error": () => {
      throw new Error("boom");
    },
    "by itself, with ctx.respond = false": (ctx) => {
      ctx.respond = false;
      ctx.res.writeHead(202, { "X-A": "1" });
      setTimeout(() => ctx.res.end("by itself"), 5);
    },
  };
  for (const [what, answer] of Object.entries(answers)) {
    it(`P2 ${what} is replayed as it was`, async () => {
      let runs = 0;
      const { port } = await start((app, guard) => {
        app.use(guard).use((ctx) => {
          runs++;
          answer(ctx);
        });
      });
      const first = await exchange(port, post("k"));
      expect(unmarked(await exchange(port, post("k")))).toBe(first);
      expect(runs).toBe(1);
    });
  }

  it("4.4 what middlewares around it add to the answer is recorded with it", async () => {
    const { port } = await start((app, guard) => {
      app.use(async (ctx, next) => {
        await next();
        ctx.set("X-Around", "1");
        if (typeof ctx.body === "string") ctx.body = ctx.body.toUpperCase();
      });
      app.use(guard).use((ctx) => {
        ctx.body = "small";
      });
    });
    const first = await exchange(port, post("k"));
    expect(first).toMatch(/X-Around: 1[\s\S]*\r\n\r\nSMALL$/);
    expect(unmarked(await exchange(port, post("k")))).toBe(first);
  });

  it("4.8 what a handler of errors around it answers is recorded", async () => {
    const { port } = await start((app, guard) => {
      app.use(async (ctx, next) => {
        try {
          await next();
        } catch (error) {
          ctx.status = 422;
          ctx.body = { failed: String(error) };
        }
      });
      app.use(guard).use(() => {
        throw new Error("boom");
      });
    });
    const first = await exchange(port, post("k"));
    expect(first).toMatch(/^HTTP\/1\.1 422 [\s\S]*\{"failed":"Error: boom"\}$/);
    expect(unmarked(await exchange(port, post("k")))).toBe(first);
  });

  it("4.9 an error in the middle of an answer leaves the outcome unknown", async () => {
    const { port, state } = await start((app, guard) => {
      app.use(guard).use((ctx) => {
        ctx.res.write("half");
        throw new Error("boom");
      });
    });
    expect(await exchange(port, post("k"))).toMatch(/"code":"outcome_unknown"/);
    expect(await state()).toBe("unknown");
  });

  it("4.9 a stream that fails leaves the outcome unknown", async () => {
    const { port, state } = await start((app, guard) => {
      app.use(guard).use((ctx) => {
        const source = new Readable({ read() {} });
        source.push("half");
        setTimeout(() => source.destroy(new Error("boom")), 5);
        ctx.body = source;
      });
    });
    expect(await exchange(port, post("k"))).toMatch(/"code":"outcome_unknown"/);
    expect(await state()).toBe("unknown");
  });

  for (const leave of ["end", "reset"] as const) {
    for (const [what, body] of [
      ["a text", () => "done"],
      ["a stream", () => Readable.from(["do", "ne"])],
      ["nothing more than a status", () => null],
    ] as const) {
      it(`4.7 ${what} is recorded although its client went away by ${leave === "end" ? "an end" : "a reset"}`, async () => {
        let goOn = (): void => {};
        const { port, state } = await start((app, guard) => {
          app.use(guard).use(async (ctx) => {
            await new Promise<void>((resolve) => {
              goOn = resolve;
            });
            ctx.body = body();
          });
        });
        const client = raw(port, post("k", "", []));
        await until(async () => (await state()) === "running");
        if (leave === "end") client.socket.destroy();
        else client.socket.resetAndDestroy();
        await new Promise((resolve) => setTimeout(resolve, 20));
        goOn();
        await until(async () => (await state()) === "done");
        const replay = await exchange(port, post("k"));
        expect(replay).toMatch(body() === null ? /^HTTP\/1\.1 204/ : /^HTTP\/1\.1 200 [\s\S]*\r\n\r\ndone$/);
      });
    }
  }

  it("7.1 what was set on the response goes with a transaction's answer, and is recorded with it", async () => {
    const { port } = await start((app, guard) => {
      app.use(guard).use(async (ctx) => {
        ctx.set("X-Set", "1");
        const database = {
          dialect: "sqlite",
          synchronous: false,
          run: async (work: (tx: object) => unknown) => ({ outcome: "committed", value: await work({}) }),
        };
        if (ctx.idempotency.key === null) await ctx.idempotency.transaction(database as never, () => ({ body: "t" }));
      });
    });
    expect(await exchange(port, post(null))).toMatch(/X-Set: 1[\s\S]*\r\n\r\nt$/);
  });

  it("5.6 behind a parser what it made of the body is compared, or the text that it kept", async () => {
    for (const keepsText of [false, true]) {
      const { port } = await start((app, guard) => {
        app.use(async (ctx, next) => {
          let text = "";
          for await (const chunk of ctx.req) text += chunk;
          Object.assign(ctx.request, { body: JSON.parse(text) }, keepsText ? { rawBody: text } : {});
          await next();
        });
        app.use(guard).use((ctx) => {
          ctx.body = (ctx.request as { body?: unknown }).body;
        });
      });
      const json = (text: string): string => post("k", text, ["Content-Type: application/json", "Connection: close"]);
      expect(await exchange(port, json('{"a":1}'))).toMatch(/\{"a":1\}$/);
      const again = await exchange(port, json('{ "a": 1 }'));
      expect(again).toMatch(keepsText ? /^HTTP\/1\.1 422/ : /Idempotent-Replayed/);
    }
  });
});
