// What Express's own means do behind the middleware, in Express 5 and 4.

import { rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";
import express5, { type ErrorRequestHandler, type Express, type Response } from "express";
import express4 from "express4";
import { afterAll, describe, expect, it, onTestFinished } from "vitest";
import { type ExpressIdempotencyOptions, idempotency } from "../../src/adapters/express.js";
import { memoryStore } from "../../src/stores/memory.js";
import { exchange, listen, post, raw, unmarked, until } from "../http/node-kit.js";

const VERSIONS = { "express 5": express5, "express 4": express4 } as const;
const FILE = join(tmpdir(), `onceward-express-traps-${process.pid}.txt`);
writeFileSync(FILE, "from a file\n".repeat(10_000));
afterAll(() => rmSync(FILE));

for (const [name, express] of Object.entries(VERSIONS)) {
  describe(name, () => {
    /** Listens with an app that the callback adds routes to. */
    async function start(add: (app: Express, guard: ReturnType<typeof idempotency>) => void, options = {}) {
      const store = memoryStore();
      const given: ExpressIdempotencyOptions = { store, account: () => "alice", background: false, ...options };
      const guard = idempotency(given);
      const app = express();
      add(app, guard);
      app.use(((_error, _request, response, next) => {
        if (response.headersSent) next(_error);
        else response.status(500).json({ failed: String(_error) });
      }) satisfies ErrorRequestHandler);
      const { port } = await listen(app);
      onTestFinished(() => guard.close());
      const state = async (): Promise<string> => (await store.list({ limit: 9 })).items.map((one) => one.state).join();
      return { port, state, store };
    }

    const answers: Readonly<Record<string, (response: Response) => unknown>> = {
      "json of an object": (response) => response.json({ a: 1 }),
      "json of false": (response) => response.json(false),
      "json of null": (response) => response.json(null),
      "json of an empty text": (response) => response.json(""),
      "send of a text": (response) => response.send("a text"),
      "send of nothing": (response) => response.send(),
      "send of bytes": (response) => response.send(Buffer.from([0, 1, 254, 255])),
      sendStatus: (response) => response.sendStatus(418),
      redirect: (response) => response.redirect(303, "/elsewhere"),
      "end alone": (response) => response.status(201).location("/t/1").end(),
      "a cookie": (response) => response.append("X-A", "1").append("X-A", "2").send("a"),
      sendFile: (response) => response.sendFile(FILE),
      download: (response) => response.download(FILE, "a.txt"),
      jsonp: (response) => response.jsonp({ a: 1 }),
      "what res.format chooses": (response) => response.format({ "text/plain": () => response.send("plain") }),
    };
    for (const [what, answer] of Object.entries(answers)) {
      it(`P2 ${what} is replayed as it was`, async () => {
        const { port } = await start((app, guard) => {
          app.post("/transfers", guard, (_request, response) => void answer(response));
        });
        const first = await exchange(port, post("k"));
        expect(first).toMatch(/^HTTP\/1\.1 [1234]/);
        expect(unmarked(await exchange(port, post("k")))).toBe(first);
      });
    }

    it("4.7 a file whose client goes away is sent to its end and recorded", async () => {
      let serve = (): void => {};
      const { port, state } = await start((app, guard) => {
        app.use((request, response, next) => {
          // As morgan does: it listens to the connection before anybody else.
          request.socket.once("close", () => {});
          response.once("close", () => {});
          next();
        });
        app.post("/transfers", guard, (_request, response) => {
          serve = () => response.sendFile(FILE);
        });
      });
      const client = raw(port, post("k", "", []));
      await until(async () => (await state()) === "running");
      client.socket.destroy();
      await new Promise((resolve) => setTimeout(resolve, 20));
      serve();
      await until(async () => (await state()) === "done");
      expect(await exchange(port, post("k"))).toMatch(/\r\n\r\n(from a file\n){10000}$/);
    });

    describe("bodies", () => {
      const body = '{"b":1,"a":2}';
      const json = (text: string): string => post("k", text, ["Content-Type: application/json", "Connection: close"]);

      it("5.6 before the parser their bytes are compared, and the parser gets them", async () => {
        const { port } = await start((app, guard) => {
          app.use(guard, express.json());
          app.post("/transfers", (request, response) => void response.json({ got: request.body }));
        });
        expect(await exchange(port, json(body))).toMatch(/\{"got":\{"b":1,"a":2\}\}$/);
        expect(await exchange(port, json(body))).toMatch(/Idempotent-Replayed/);
        expect(await exchange(port, json('{"a":2,"b":1}'))).toMatch(/^HTTP\/1\.1 422/);
      });

      it("5.6 behind the parser what it made of them is compared", async () => {
        const { port } = await start((app, guard) => {
          app.use(express.json(), guard);
          app.post("/transfers", (request, response) => void response.json({ got: request.body }));
        });
        expect(await exchange(port, json(body))).toMatch(/\{"got":\{"b":1,"a":2\}\}$/);
        expect(await exchange(port, json('{ "a": 2, "b": 1 }'))).toMatch(/Idempotent-Replayed/);
        expect(await exchange(port, json('{"a":2,"b":2}'))).toMatch(/^HTTP\/1\.1 422/);
      });

      it("5.6 behind a parser that keeps the bytes, those are compared", async () => {
        const { port } = await start((app, guard) => {
          const keep = (request: { rawBody?: Buffer }, _response: unknown, bytes: Buffer): void => {
            request.rawBody = bytes;
          };
          app.use(express.json({ verify: keep as never }), guard);
          app.post("/transfers", (_request, response) => void response.json({}));
        });
        await exchange(port, json(body));
        expect(await exchange(port, json(body))).toMatch(/Idempotent-Replayed/);
        expect(await exchange(port, json('{"a":2,"b":1}'))).toMatch(/^HTTP\/1\.1 422/);
      });

      it("P4 behind a reader that leaves nothing the request is refused, and nothing runs", async () => {
        let runs = 0;
        const { port, state } = await start((app, guard) => {
          app.use((request, _response, next) => void request.resume().on("end", () => next()));
          app.post("/transfers", guard, (_request, response) => {
            runs++;
            response.end();
          });
        });
        expect(await exchange(port, json(body))).toMatch(/^HTTP\/1\.1 500 [\s\S]*mount idempotency\(\) before/);
        expect([runs, await state()]).toEqual([0, ""]);
      });
    });

    describe("errors", () => {
      const ways: Readonly<Record<string, (app: Express, guard: ReturnType<typeof idempotency>) => void>> = {
        "thrown at once": (app, guard) => {
          app.post("/transfers", guard, () => {
            throw new Error("boom");
          });
        },
        "given to next": (app, guard) => {
          app.post("/transfers", guard, (_request, _response, next) => next(new Error("boom")));
        },
        "rejected with": (app, guard) => {
          app.post("/transfers", guard, async () => {
            await Promise.resolve();
            throw new Error("boom");
          });
        },
        "rejected with in a router within": (app, guard) => {
          const router = express.Router();
          router.post("/transfers", async () => Promise.reject(new Error("boom")));
          app.use(guard, router);
        },
        "rejected with in an app within": (app, guard) => {
          const inner = express();
          inner.post("/transfers", async () => Promise.reject(new Error("boom")));
          app.use(guard, inner);
          inner.use(((error, _request, _response, next) => next(error)) satisfies ErrorRequestHandler);
        },
        "rejected with by a handler of errors": (app, guard) => {
          app.post("/transfers", guard, () => {
            throw new Error("first");
          });
          app.use((async () => {
            throw new Error("boom");
          }) as unknown as ErrorRequestHandler);
          app.use((async (_error, _request, _response, _next) => {
            throw new Error("boom");
          }) satisfies ErrorRequestHandler);
        },
      };
      for (const [how, add] of Object.entries(ways)) {
        it(`4.8 ${how}: the app's own answer is recorded`, async () => {
          const { port } = await start(add);
          const first = await exchange(port, post("k"));
          expect(first).toMatch(/^HTTP\/1\.1 500 [\s\S]*\{"failed":"Error: boom"\}$/);
          expect(unmarked(await exchange(port, post("k")))).toBe(first);
        });
      }

      it("4.9 in the middle of an answer: the outcome is unknown, as Express closes the connection", async () => {
        const { port, state } = await start((app, guard) => {
          app.post("/transfers", guard, (_request, response) => {
            response.write("half");
            throw new Error("boom");
          });
        });
        await exchange(port, post("k"));
        await until(async () => (await state()) === "unknown");
        expect(await exchange(port, post("k"))).toMatch(/"code":"outcome_unknown"/);
      });

      it("4.4 after the answer: its client gets it", async () => {
        const { port } = await start((app, guard) => {
          app.post("/transfers", guard, async (_request, response) => {
            response.send("answered");
            throw new Error("boom");
          });
        });
        const first = await exchange(port, post("k"));
        expect(first).toMatch(/\r\n\r\nanswered$/);
        expect(unmarked(await exchange(port, post("k")))).toBe(first);
      });

      it("of the account resolver: the app's own answer, and nothing runs", async () => {
        let runs = 0;
        const account = () => {
          throw new Error("no such user");
        };
        const { port, state } = await start(
          (app, guard) => {
            app.post("/transfers", guard, (_request, response) => {
              runs++;
              response.end();
            });
          },
          { account },
        );
        expect(await exchange(port, post("k"))).toMatch(/^HTTP\/1\.1 500 [\s\S]*no such user/);
        expect([runs, await state()]).toEqual([0, ""]);
      });
    });

    describe("routing", () => {
      it("5.6 the whole address counts, wherever the middleware is mounted", async () => {
        const { port } = await start((app, guard) => {
          for (const base of ["/a", "/b"]) {
            const router = express.Router();
            router.use(guard);
            router.post("/transfers", (request, response) => void response.send(request.baseUrl));
            app.use(base, router);
          }
        });
        const to = (path: string): string => post("k").replace("/transfers", path);
        expect(await exchange(port, to("/a/transfers"))).toMatch(/\r\n\r\n\/a$/);
        expect(await exchange(port, to("/a/transfers"))).toMatch(/Idempotent-Replayed/);
        expect(await exchange(port, to("/b/transfers"))).toMatch(/^HTTP\/1\.1 422/);
      });

      it("11 the history names the route as the app does", async () => {
        const { port, store } = await start((app, guard) => {
          app.post("/users/:id/transfers", guard, (_request, response) => void response.end());
        });
        await exchange(port, post("k").replace("/transfers", "/users/7/transfers"));
        const run = await until(async () => (await store.history?.listRuns({ limit: 1 }))?.items[0]);
        expect([run.route, run.path]).toEqual(["POST /users/:id/transfers", "/users/7/transfers"]);
      });

      it("mounted twice, the first one counts, and both see its claim", async () => {
        const claims: unknown[] = [];
        const { port, store } = await start((app, guard) => {
          app.use(guard);
          app.use((request, _response, next) => {
            claims.push(request.idempotency);
            next();
          });
          app.post("/transfers", guard, (request, response) => {
            claims.push(request.idempotency);
            response.send(String(request.idempotency.key));
          });
        });
        expect(await exchange(port, post("k"))).toMatch(/\r\n\r\nk$/);
        expect(claims[0]).toBe(claims[1]);
        expect((await store.list({ limit: 9 })).items).toHaveLength(1);
      });

      it("K7 without a key the claim is there all the same", async () => {
        const { port } = await start((app, guard) => {
          app.use(guard);
          app.post("/transfers", async (request, response) => {
            const { key, account } = request.idempotency;
            response.json([key, account, await request.idempotency.step("one", () => 1)]);
          });
        });
        expect(await exchange(port, post(null))).toMatch(/\[null,null,1\]$/);
      });

      it("a sub-app, which changes the response's prototype, answers through it too", async () => {
        const { port } = await start((app, guard) => {
          const inner = express();
          inner.post("/transfers", (_request, response) => void response.json({ inner: true }));
          app.use(guard, inner);
        });
        const first = await exchange(port, post("k"));
        expect(first).toMatch(/\{"inner":true\}$/);
        expect(unmarked(await exchange(port, post("k")))).toBe(first);
      });
    });

    describe("other middlewares", () => {
      /** As `on-headers`: hooks into writeHead on the instance. */
      function onHeaders(response: Response, hook: () => void): void {
        const { writeHead } = response;
        let fired = false;
        response.writeHead = function (this: Response, ...values: unknown[]): Response {
          if (!fired) {
            fired = true;
            hook();
          }
          return Reflect.apply(writeHead, this, values) as Response;
        };
      }

      /** As `compression`: replaces write and end on the instance, and looks at `_header`. */
      function compress(response: Response): void {
        const { write, end } = response;
        const chunks: Buffer[] = [];
        const known = response as unknown as { _header: unknown; _implicitHeader(): void };
        response.write = ((chunk: string | Buffer) => {
          if (!known._header) known._implicitHeader();
          chunks.push(Buffer.from(chunk));
          return true;
        }) as Response["write"];
        response.end = function (this: Response, chunk?: unknown): Response {
          if (chunk) chunks.push(Buffer.from(chunk as string));
          if (!known._header) known._implicitHeader();
          write.call(this, gzipSync(Buffer.concat(chunks)), "utf8");
          return end.call(this, undefined, "utf8") as Response;
        } as Response["end"];
        onHeaders(response, () => {
          response.setHeader("Content-Encoding", "gzip");
          response.removeHeader("Content-Length");
        });
      }

      for (const [where, order] of [
        ["within", (guard: unknown, other: unknown) => [guard, other]],
        ["around", (guard: unknown, other: unknown) => [other, guard]],
      ] as const) {
        it(`compression ${where} it: both answers are compressed, and the same`, async () => {
          const { port } = await start((app, guard) => {
            const other = (_request: unknown, response: Response, next: () => void): void => {
              compress(response);
              next();
            };
            for (const use of order(guard, other)) app.use(use as typeof guard);
            app.post("/transfers", (_request, response) => void response.send("x".repeat(1_000)));
          });
          const client = raw(port, post("k"));
          const first = (await client.closed).replace(/^Date: .*\r\n/m, "");
          expect(first).toMatch(/Content-Encoding: gzip/);
          const replay = unmarked(await exchange(port, post("k")));
          const body = (answer: string): string => {
            const whole = answer.slice(answer.indexOf("\r\n\r\n") + 4).replace(/\r\n0\r\n\r\n$/, "");
            const bytes = Buffer.from(whole, "latin1");
            return gunzipSync(bytes.subarray(bytes.indexOf(Buffer.from([0x1f, 0x8b])))).toString();
          };
          expect(body(first)).toBe("x".repeat(1_000));
          expect(body(replay)).toBe("x".repeat(1_000));
          expect(replay).toBe(first);
        });

        it(`hooks into the head ${where} it are called once for an answer`, async () => {
          let fired = 0;
          const { port } = await start((app, guard) => {
            const other = (_request: unknown, response: Response, next: () => void): void => {
              onHeaders(response, () => {
                fired++;
                response.setHeader("X-Hook", "1");
              });
              next();
            };
            for (const use of order(guard, other)) app.use(use as typeof guard);
            app.post("/transfers", (_request, response) => void response.send("a"));
          });
          const first = await exchange(port, post("k"));
          expect(first.match(/X-Hook: 1/g)).toHaveLength(1);
          expect(fired).toBe(1);
          expect((await exchange(port, post("k"))).match(/X-Hook: 1/g)).toHaveLength(1);
        });
      }

      it("what was set before goes with refusals, and a replay has what the first answer had", async () => {
        let origin = "https://a.example";
        const { port } = await start(
          (app, guard) => {
            app.use((_request, response, next) => {
              response.set("Access-Control-Allow-Origin", origin);
              next();
            });
            app.post("/transfers", guard, (_request, response) => void response.send("a"));
          },
          { required: true },
        );
        expect(await exchange(port, post(null))).toMatch(/Access-Control-Allow-Origin: https:\/\/a/);
        await exchange(port, post("k"));
        origin = "https://b.example";
        expect(await exchange(port, post("k"))).toMatch(/Access-Control-Allow-Origin: https:\/\/a/);
      });
    });
  });
}
