// Answers of Node's handlers, byte for byte: what the first client gets is what every other gets (SPEC P2, §5).

import type { IncomingMessage, ServerResponse } from "node:http";
import { Readable, Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { describe, expect, it } from "vitest";
import { exchange, guarded, listen, post, raw, undated, unmarked, until } from "./node-kit.js";

type Listener = (request: IncomingMessage, response: ServerResponse) => void | Promise<void>;

const BINARY = Uint8Array.from({ length: 256 }, (_, index) => index);

/** Handlers that answer with a length of their own: the wire is that of a plain server, but for where the length stands. */
const ANSWERS: Readonly<Record<string, Listener>> = {
  "writeHead with a status": (_, response) => void response.writeHead(201).end("made"),
  "writeHead with a status and fields": (_, response) =>
    void response.writeHead(202, { "X-A": "1", "x-b": ["2", "3"] }).end("a"),
  "writeHead with words of its own": (_, response) => void response.writeHead(200, "OK", { "X-A": "1" }).end("a"),
  "writeHead with a flat list": (_, response) =>
    void response.writeHead(200, ["X-A", "1", "X-B", "2", "X-A", "3"] as unknown as string[]).end("a"),
  "writeHead with a list of pairs": (_, response) =>
    void response
      .writeHead(200, [
        ["X-A", "1"],
        ["X-B", "2"],
      ] as unknown as string[])
      .end("a"),
  "setHeader and then writeHead": (_, response) => {
    response.setHeader("X-A", "old");
    response.setHeader("X-B", "kept");
    response.writeHead(200, { "x-a": "new" }).end("a");
  },
  "appendHeader and removeHeader": (_, response) => {
    response.setHeader("X-Gone", "1");
    response.appendHeader("X-A", "1").appendHeader("X-A", ["2", "3"]);
    response.removeHeader("x-gone");
    response.end("a");
  },
  "a number as a field's value": (_, response) => void response.writeHead(200, { "X-N": 7 }).end(),
  "nothing at all": (_, response) => void response.end(),
  "the status alone": (_, response) => {
    response.statusCode = 404;
    response.end();
  },
  "one text": (_, response) => void response.end("häßlich"),
  "texts in several encodings": (_, response) => {
    response.write("h\u00e4", "latin1");
    response.write("aGk=", "base64");
    response.write("6869", "hex");
    response.write("日本");
    response.end("ende", "utf-8" as BufferEncoding);
  },
  "bytes of every kind": (_, response) => {
    response.write(Buffer.from(BINARY));
    response.write(new Uint8Array(BINARY.buffer, 16, 32));
    response.end(BINARY);
  },
  "many small pieces": (_, response) => {
    for (let index = 0; index < 3_000; index++) response.write(String(index % 10));
    response.end();
  },
  "204 with what is not to be sent": (_, response) => {
    response.writeHead(204);
    response.write("nothing of this");
    response.end("nor of this");
  },
  "304": (_, response) => void response.writeHead(304, { ETag: '"1"' }).end(),
  "303 with a location": (_, response) => void response.writeHead(303, { Location: "/there" }).end(),
  "a field beyond ASCII": (_, response) => void response.writeHead(200, { "X-Name": "J\u00fcrgen" }).end("a"),
  "a stream through pipe": (_, response) => void Readable.from([Buffer.from("one"), Buffer.from("two")]).pipe(response),
  "a stream through pipeline": async (_, response) => {
    const upper = new Transform({ transform: (chunk, _encoding, done) => done(null, String(chunk).toUpperCase()) });
    await pipeline(Readable.from(["one", "two"]), upper, response);
  },
  "a head that is flushed early": async (_, response) => {
    response.writeHead(200, { "X-A": "1" });
    response.flushHeaders();
    await new Promise((resolve) => setImmediate(resolve));
    response.end("late");
  },
  "pieces of one buffer that is used again": async (_, response) => {
    const buffer = Buffer.alloc(4);
    for (const word of ["one.", "two.", "tri."]) {
      buffer.write(word);
      await new Promise<void>((resolve) => response.write(buffer, () => resolve()));
    }
    response.end();
  },
  "corked pieces": (_, response) => {
    response.cork();
    response.write("one");
    response.write("two");
    response.uncork();
    response.end();
  },
};

/** What a client sees of an answer: its chunks joined, its length wherever it stood. */
function meaning(answer: string): { readonly head: readonly string[]; readonly body: string } {
  const [head = "", ...rest] = answer.split("\r\n\r\n");
  const lines = head.split("\r\n");
  let body = rest.join("\r\n\r\n");
  if (lines.some((line) => /^Transfer-Encoding: chunked$/i.test(line))) {
    let joined = "";
    for (let at = 0; ; ) {
      const end = body.indexOf("\r\n", at);
      const size = Number.parseInt(body.slice(at, end), 16);
      if (size === 0) break;
      joined += body.slice(end + 2, end + 2 + size);
      at = end + 2 + size + 2;
    }
    body = joined;
  }
  const framing = /^(Transfer-Encoding|Content-Length):/i;
  return { head: lines.filter((line) => !framing.test(line)).toSorted(), body };
}

describe("P2 5.1 the first answer and its replay are the same bytes, and mean what they mean without the middleware", () => {
  for (const [what, listener] of Object.entries(ANSWERS)) {
    it(what, async () => {
      const plain = await listen((request, response) => void listener(request, response));
      const { port } = await guarded(listener);
      const first = await exchange(port, post("k"));
      expect(unmarked(await exchange(port, post("k")))).toBe(first);
      expect(meaning(first)).toEqual(meaning(await exchange(plain.port, post("k"))));
    });
  }
});

describe("a held response behaves as one that is sent", () => {
  /** What a handler saw, told in its answer, which is the same with and without the middleware. */
  async function seen(listener: (response: ServerResponse, see: (what: unknown) => void) => void | Promise<void>) {
    const both = await Promise.all(
      [listen, guarded].map(async (serve) => {
        const saw: unknown[] = [];
        const over: (void | Promise<void>)[] = [];
        const { port } = await serve((_request: IncomingMessage, response: ServerResponse) => {
          over.push(listener(response, (what) => saw.push(what)));
        });
        const answer = await exchange(port, post("k"));
        await over[0];
        return { saw, body: meaning(answer).body, status: answer.slice(0, 12) };
      }),
    );
    expect(both[1]).toEqual(both[0]);
    return both[1];
  }

  it("headersSent, writableEnded and finished say so at once", async () => {
    const { saw } = (await seen((response, see) => {
      see([response.headersSent, response.writableEnded, response.finished]);
      response.write("a");
      see([response.headersSent, response.writableEnded, response.finished]);
      response.end();
      see([response.headersSent, response.writableEnded, response.finished]);
    }))!;
    expect(saw).toEqual([
      [false, false, false],
      [true, false, false],
      [true, true, true],
    ]);
  });

  it("a head that was sent cannot be changed, and says so as Node does", async () => {
    const code = (change: () => void): unknown => {
      try {
        change();
      } catch (error) {
        return (error as { code?: string }).code;
      }
      return "none";
    };
    await seen((response, see) => {
      response.writeHead(200);
      see(code(() => response.setHeader("X-A", "1")));
      see(code(() => response.appendHeader("X-A", "1")));
      see(code(() => response.removeHeader("X-A")));
      see(code(() => response.writeHead(201)));
      response.end("a");
    });
  });

  it("what is no status, field or body is refused as Node does, in the handler", async () => {
    const fault = (call: () => void): unknown => {
      try {
        call();
      } catch (error) {
        return [(error as Error).name, (error as { code?: string }).code];
      }
      return "none";
    };
    await seen((response, see) => {
      see(fault(() => response.writeHead(99)));
      see(fault(() => response.writeHead(1_000)));
      see(fault(() => response.writeHead("no" as unknown as number)));
      see(fault(() => response.setHeader("bad name", "1")));
      see(fault(() => response.setHeader("X-A", "bad\nvalue")));
      see(fault(() => response.write(null)));
      see(fault(() => response.write(7 as unknown as string)));
      see(fault(() => response.end({} as unknown as string)));
      response.end("a");
    });
  });

  it("callbacks are called, in order", async () => {
    const { saw } = (await seen(async (response, see) => {
      const closed = new Promise<void>((resolve) => response.on("close", resolve));
      response.write("a", () => see("a"));
      response.write("b", "utf8", () => see("b"));
      await new Promise<void>((resolve) =>
        response.write("c", () => {
          see("c");
          resolve();
        }),
      );
      await new Promise<void>((resolve) =>
        response
          .on("finish", () => see("finish"))
          .end("d", () => {
            see("end");
            resolve();
          }),
      );
      await closed;
      see("close");
    }))!;
    expect(saw).toEqual(["a", "b", "c", "finish", "end", "close"]);
  });

  it("to end it twice does nothing, and to write after the end is an error of the stream", async () => {
    await seen(async (response, see) => {
      response.on("error", (error) => see((error as { code?: string }).code));
      response.end("a");
      response.end();
      await new Promise<void>((resolve) => {
        see(
          response.write("late", (error) => {
            see((error as { code?: string } | null)?.code);
            resolve();
          }),
        );
      });
    });
  });

  it("4.4 finish comes when the answer is recorded and sent, and not before", async () => {
    const { port, state } = await guarded(async (_request, response) => {
      response.on("finish", () => void state().then((now) => states.push(now)));
      response.end("a");
      states.push(await state());
    });
    const states: string[] = [];
    await exchange(port, post("k"));
    await until(() => states.length === 2);
    expect(states).toEqual(["running", "done"]);
  });

  it("5.7 no 1xx and no trailers reach the client of a keyed request", async () => {
    const { port } = await guarded((_request, response) => {
      response.writeContinue();
      response.writeProcessing();
      response.writeEarlyHints({ link: "</a.css>; rel=preload" });
      response.writeHead(200, { Trailer: "X-Sum", "Transfer-Encoding": "chunked" });
      response.write("a");
      response.addTrailers({ "X-Sum": "1" });
      response.end("b");
    });
    const answer = await exchange(port, post("k"));
    expect(answer.match(/HTTP\/1\.1 \d+/g)).toEqual(["HTTP/1.1 200"]);
    expect(answer).not.toMatch(/x-sum|trailer/i);
    expect(unmarked(await exchange(port, post("k")))).toBe(answer);
  });
});

describe("connections", () => {
  it("stay open over keyed requests, and close where the handler says so", async () => {
    let closes = false;
    const { port } = await guarded((_request, response) => {
      if (closes) response.setHeader("Connection", "close");
      response.end("a");
    });
    const client = raw(port, post("1", "", []));
    await client.until(/\r\n\r\na$/);
    client.socket.write(post("1", "", []));
    await client.until(/Idempotent-Replayed: true[\s\S]*\r\n\r\na$/);
    closes = true;
    client.socket.write(post("2", "", []));
    expect(await client.closed).toMatch(/Connection: close/);
  });

  it("answer pipelined requests in their order, whichever is done first", async () => {
    const { port } = await guarded(async (request, response) => {
      if (request.headers["idempotency-key"] === "slow") await new Promise((resolve) => setTimeout(resolve, 50));
      response.end(`[${request.headers["idempotency-key"]}]`);
    });
    const client = raw(port, post("slow", "", []) + post("quick", "", []) + post("third"));
    expect((await client.closed).match(/\[\w+\]/g)).toEqual(["[slow]", "[quick]", "[third]"]);
  });

  it("4 a pipelined duplicate of a request under way is told so", async () => {
    const { port } = await guarded(async (_request, response) => {
      await new Promise((resolve) => setTimeout(resolve, 50));
      response.end("a");
    });
    const client = raw(port, post("k", "", []) + post("k"));
    expect((await client.closed).match(/HTTP\/1\.1 \d+/g)).toEqual(["HTTP/1.1 200", "HTTP/1.1 409"]);
  });

  it("HTTP/1.0 gets its answer with a length", async () => {
    const { port } = await guarded((_request, response) => {
      response.write("a");
      response.end("b");
    });
    const answer = await exchange(port, "POST / HTTP/1.0\r\nIdempotency-Key: k\r\nContent-Length: 0\r\n\r\n");
    expect(answer).toMatch(/Content-Length: 2\r\n/);
    expect(undated(answer)).toMatch(/\r\n\r\nab$/);
  });
});
