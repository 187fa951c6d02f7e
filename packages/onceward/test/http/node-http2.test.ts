// The same over HTTP/2, through Node's compatibility API.

import { once } from "node:events";
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  constants,
  createServer,
  type Http2ServerRequest,
  type Http2ServerResponse,
  type IncomingHttpHeaders,
} from "node:http2";
import type { AddressInfo } from "node:net";
import { Readable } from "node:stream";
import { describe, expect, it, onTestFinished } from "vitest";
import { type IdempotentListener, idempotency } from "../../src/adapters/node.js";
import { memoryStore } from "../../src/stores/memory.js";
import { until } from "./node-kit.js";

interface Answer {
  readonly head: IncomingHttpHeaders;
  readonly body: string;
}

/** Leaves out what differs from answer to answer. */
function compared({ head, body }: Answer): unknown {
  const { date: _date, "idempotent-replayed": _marker, ...fields } = head;
  return { fields, names: Object.keys(fields), body };
}

async function start(listener: IdempotentListener) {
  const store = memoryStore();
  const middleware = idempotency({ store, account: () => "alice", background: false, onError: () => {} });
  const serve = middleware(listener) as unknown as (request: Http2ServerRequest, response: Http2ServerResponse) => void;
  const server = createServer((request, response) => void serve(request, response));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const session = connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  onTestFinished(async () => {
    session.destroy();
    await new Promise((resolve) => server.close(resolve));
    await middleware.close();
  });
  const state = async (): Promise<string> => (await store.list({ limit: 2 })).items.map((item) => item.state).join();
  return { session, state };
}

function open(session: ClientHttp2Session, key: string, body: string | Uint8Array = ""): ClientHttp2Stream {
  const stream = session.request({ ":method": "POST", ":path": "/transfers", "idempotency-key": key });
  stream.on("error", () => {});
  stream.end(body);
  return stream;
}

async function answerOf(stream: ClientHttp2Stream): Promise<Answer> {
  const [head] = (await once(stream, "response")) as [IncomingHttpHeaders];
  let body = "";
  for await (const chunk of stream) body += chunk.toString("latin1");
  return { head, body };
}

const exchange = (session: ClientHttp2Session, key: string, body?: string | Uint8Array): Promise<Answer> =>
  answerOf(open(session, key, body));

describe("HTTP/2", () => {
  const answers: Readonly<Record<string, IdempotentListener>> = {
    "in one piece": (_request, response) => void response.end("done"),
    "with fields": (_request, response) => {
      response.setHeader("X-A", "old");
      response.writeHead(201, { "x-a": "new", "X-B": ["1", "2"] });
      response.end("made");
    },
    "with a flat list of fields": (_request, response) =>
      void response.writeHead(200, ["X-A", "1", "X-B", "2"] as unknown as string[]).end("a"),
    "in pieces": async (_request, response) => {
      response.write("one ");
      await new Promise((resolve) => setImmediate(resolve));
      response.end("two");
    },
    "by a pipe": (_request, response) => void Readable.from(["one", "two"]).pipe(response),
    "without a body": (_request, response) => void response.writeHead(204).end(),
    "by what checks _header before each write, as compression does": (_request, response) => {
      const known = response as unknown as { _header: unknown; _implicitHeader(): void };
      if (!known._header) known._implicitHeader();
      response.write("a");
      if (!known._header) known._implicitHeader();
      response.end("b");
    },
  };
  for (const [how, listener] of Object.entries(answers)) {
    it(`P2 an answer ${how} is replayed as it was`, async () => {
      const { session } = await start(listener);
      const first = await exchange(session, "k");
      const replay = await exchange(session, "k");
      expect(replay.head["idempotent-replayed"]).toBe("true");
      expect(compared(replay)).toEqual(compared(first));
    });
  }

  it("headersSent and writableEnded say so at once", async () => {
    const saw: unknown[] = [];
    const { session } = await start((_request, response) => {
      saw.push([response.headersSent, response.writableEnded, response.finished]);
      response.writeHead(200);
      saw.push([response.headersSent, response.writableEnded, response.finished]);
      response.end("a");
      saw.push([response.headersSent, response.writableEnded, response.finished]);
    });
    await exchange(session, "k");
    expect(saw).toEqual([
      [false, false, false],
      [true, false, false],
      [true, true, true],
    ]);
  });

  for (const [what, length] of [
    ["small", 5],
    ["of 300 KB", 300_000],
    ["of 3 MiB", 3 * 1_048_576],
  ] as const) {
    it(`5.5 a body ${what} is whole for the handler, and compared`, async () => {
      const { session } = await start(async (request, response) => {
        let got = 0;
        for await (const chunk of request) got += chunk.length;
        response.end(String(got));
      });
      const body = Buffer.alloc(length, "x");
      const first = await exchange(session, "k", body);
      expect(first.body).toBe(String(length));
      expect((await exchange(session, "k", body)).head["idempotent-replayed"]).toBe("true");
      body[length - 1] = 0;
      expect((await exchange(session, "k", body)).head[":status"]).toBe(422);
    });
  }

  it("5.4 an answer that streams is passed on piece by piece", async () => {
    let goOn = (): void => {};
    const { session, state } = await start(async (_request, response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.write("data: 1\n\n");
      await new Promise<void>((resolve) => {
        goOn = resolve;
      });
      response.end("data: 2\n\n");
    });
    const stream = open(session, "k");
    await once(stream, "response");
    let body = "";
    stream.on("data", (chunk) => {
      body += chunk;
    });
    await until(() => body === "data: 1\n\n");
    expect(await state()).toBe("done");
    goOn();
    await once(stream, "end");
    expect(body).toBe("data: 1\n\ndata: 2\n\n");
    expect((await exchange(session, "k")).body).toMatch(/response_not_kept/);
  });

  it("5.4 a large answer is passed on whole", async () => {
    const { session } = await start((_request, response) => void response.end(Buffer.alloc(3 * 1_048_576, "x")));
    expect((await exchange(session, "k")).body).toHaveLength(3 * 1_048_576);
    expect((await exchange(session, "k")).body).toMatch(/response_not_kept/);
  });

  it("4.7 what is answered when the stream is reset is recorded all the same", async () => {
    let goOn = (): void => {};
    const { session, state } = await start(async (request, response) => {
      await new Promise<void>((resolve) => {
        goOn = resolve;
      });
      let got = "";
      for await (const chunk of request) got += chunk;
      Readable.from([`got ${got}`]).pipe(response);
    });
    const stream = open(session, "k", "hello");
    await until(async () => (await state()) === "running");
    stream.close(constants.NGHTTP2_CANCEL);
    await once(stream, "close");
    await new Promise((resolve) => setTimeout(resolve, 20));
    goOn();
    await until(async () => (await state()) === "done");
    expect((await exchange(session, "k", "hello")).body).toBe("got hello");
  });

  it("4.9 a response that is destroyed leaves the outcome unknown, and its client is told so", async () => {
    const { session, state } = await start((_request, response) => {
      response.write("half");
      response.destroy();
    });
    expect((await exchange(session, "k")).body).toMatch(/outcome_unknown/);
    expect(await state()).toBe("unknown");
  });
});
