// Bodies of keyed requests on Node: read whole before the claim, compared, and still there for whoever parses them (SPEC §5.5).

import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import type { IncomingMessage } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { IdempotentListener } from "../../src/adapters/node.js";
import { Budget } from "../../src/http/budget.js";
import { HeldRequest } from "../../src/http/node/held-request.js";
import { exchange, guarded, listen, post, raw, until } from "./node-kit.js";

const MIB = 1_048_576;

/** The ways in which handlers and parsers read. */
const READERS: Readonly<Record<string, (request: IncomingMessage) => Promise<Buffer>>> = {
  "its events": (request) =>
    new Promise((resolve, reject) => {
      const chunks: Buffer[] = [];
      request.on("data", (chunk) => chunks.push(chunk));
      request.on("end", () => resolve(Buffer.concat(chunks)));
      request.on("error", reject);
    }),
  iteration: async (request) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    return Buffer.concat(chunks);
  },
  "a pipe": async (request) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request.pipe(new PassThrough())) chunks.push(chunk);
    return Buffer.concat(chunks);
  },
  "readable and read()": (request) =>
    new Promise((resolve) => {
      const chunks: Buffer[] = [];
      request.on("readable", () => {
        for (let chunk = request.read(); chunk !== null; chunk = request.read()) chunks.push(chunk);
      });
      request.on("end", () => resolve(Buffer.concat(chunks)));
    }),
  "its events as text, later": async (request) => {
    await new Promise((resolve) => setTimeout(resolve, 10));
    request.setEncoding("latin1");
    let text = "";
    for await (const chunk of request) text += chunk;
    return Buffer.from(text, "latin1");
  },
};

/** Random bytes that are the same each time. */
function bytes(length: number): Buffer {
  const buffer = Buffer.alloc(length);
  let state = 42;
  for (let at = 0; at < length; at++) {
    state = (state * 1_103_515_245 + 12_345) & 0x7fffffff;
    buffer[at] = state >> 16;
  }
  return buffer;
}

/** A request in chunks of the transfer coding. */
function chunked(key: string, pieces: readonly Uint8Array[]): Buffer {
  const head = `POST /transfers HTTP/1.1\r\nHost: test\r\nIdempotency-Key: ${key}\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n`;
  const parts = pieces.flatMap((piece) => [`${piece.length.toString(16)}\r\n`, piece, "\r\n"]);
  return Buffer.concat([head, ...parts, "0\r\n\r\n"].map((part) => Buffer.from(part as string)));
}

function sized(key: string, body: Uint8Array): Buffer {
  return Buffer.concat([
    Buffer.from(post(key, "").replace("Content-Length: 0", `Content-Length: ${body.length}`)),
    body,
  ]);
}

/** Where large bodies go: to a folder of this test's own, since other tests spool too. */
const folder = mkdtempSync(join(tmpdir(), "onceward-test-"));
const { TMPDIR } = process.env;
beforeAll(() => {
  process.env["TMPDIR"] = folder;
});
afterAll(() => {
  if (TMPDIR === undefined) delete process.env["TMPDIR"];
  else process.env["TMPDIR"] = TMPDIR;
  rmSync(folder, { recursive: true });
});

const spooled = (): number => readdirSync(folder).length;

describe("5.5 a body is whole before the claim, and whole for the handler", () => {
  for (const [how, read] of Object.entries(READERS)) {
    for (const [size, length] of [
      ["empty", 0],
      ["small", 11],
      ["of 300 KB", 300_000],
      ["of 3 MiB, through a file", 3 * MIB],
    ] as const) {
      it(`${size}, read by ${how}`, async () => {
        const body = bytes(length);
        const got: Buffer[] = [];
        const states: string[] = [];
        const { port, state } = await guarded(async (request, response) => {
          states.push(await state());
          got.push(await read(request));
          response.end("a");
        });
        const pieces = Array.from({ length: Math.ceil(length / 50_000) }, (_, index) =>
          body.subarray(index * 50_000, (index + 1) * 50_000),
        );
        expect(await exchange(port, sized("sized", body))).toMatch(/^HTTP\/1\.1 200/);
        expect(await exchange(port, chunked("chunked", pieces))).toMatch(/^HTTP\/1\.1 200/);
        expect(got.map((one) => one.equals(body))).toEqual([true, true]);
        expect(states).toEqual(["running", expect.stringContaining("running")]);
        expect(spooled()).toBe(0);
      });
    }
  }

  it("in pieces of one byte, each on its own", async () => {
    const { port } = await guarded(async (request, response) => {
      let body = "";
      for await (const chunk of request) body += chunk;
      response.end(body);
    });
    const client = raw(port, post("k", "", []).replace("Content-Length: 0", "Content-Length: 20\r\nConnection: close"));
    for (let index = 0; index < 20; index++) {
      client.socket.write(String(index % 10));
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    expect(await client.closed).toMatch(/\r\n\r\n01234567890123456789$/);
  });

  it("whose client waits to be told to continue", async () => {
    const { port } = await guarded(async (request, response) => {
      let body = "";
      for await (const chunk of request) body += chunk;
      response.end(`got ${body}`);
    });
    const head = post("k", "").replace("Content-Length: 0", "Content-Length: 5\r\nExpect: 100-continue");
    const client = raw(port, head);
    await client.until(/100 Continue/);
    client.socket.write("hello");
    expect(await client.closed).toMatch(/\r\n\r\ngot hello$/);
  });

  it("left unread by its handler: the connection goes on", async () => {
    const { port } = await guarded((_request, response) => void response.end("a"));
    const client = raw(port, post("1", "unread", []));
    await client.until(/\r\n\r\na$/);
    client.socket.write(post("2", "unread"));
    expect((await client.closed).match(/HTTP\/1\.1 200/g)).toHaveLength(2);
  });

  it("of a request without a key streams", async () => {
    const first: string[] = [];
    const { port } = await guarded(async (request, response) => {
      for await (const chunk of request) first.push(String(chunk));
      response.end("a");
    });
    const client = raw(port, post(null, "").replace("Content-Length: 0", "Content-Length: 10"));
    client.socket.write("01234");
    await until(() => first.length > 0);
    client.socket.write("56789");
    await client.closed;
  });
});

describe("5.6 a body is compared", () => {
  it("whichever way its pieces came", async () => {
    const { port } = await guarded((_request, response) => void response.end("a"));
    await exchange(port, sized("k", Buffer.from("hello")));
    expect(await exchange(port, chunked("k", [Buffer.from("he"), Buffer.from("llo")]))).toMatch(/Idempotent-Replayed/);
    expect(await exchange(port, sized("k", Buffer.from("hallo")))).toMatch(/^HTTP\/1\.1 422/);
  });

  it("beyond the memory that a body may take, too", async () => {
    const { port } = await guarded((_request, response) => void response.end("a"));
    const body = bytes(2 * MIB);
    await exchange(port, sized("k", body));
    expect(await exchange(port, sized("k", body))).toMatch(/Idempotent-Replayed/);
    body[2 * MIB - 1]! ^= 1;
    expect(await exchange(port, sized("k", body))).toMatch(/^HTTP\/1\.1 422/);
    expect(spooled()).toBe(0);
  });
});

describe("5.5 bounds", () => {
  for (const [how, send] of [
    ["announced", (body: Buffer) => sized("k", body)],
    ["in chunks", (body: Buffer) => chunked("k", [body])],
  ] as const) {
    it(`a body over maxRequestBody, ${how}, is refused, and nothing runs`, async () => {
      let runs = 0;
      const listener: IdempotentListener = (_request, response) => {
        runs++;
        response.end("a");
      };
      const { port, state } = await guarded(listener, { maxRequestBody: 1_000 });
      expect(await exchange(port, send(bytes(1_001)))).toMatch(/^HTTP\/1\.1 413 [\s\S]*"code":"request_too_large"/);
      expect([runs, await state()]).toEqual([0, ""]);
      expect(await exchange(port, send(bytes(1_000)))).toMatch(/^HTTP\/1\.1 200/);
    });
  }

  it("memory is given back, whatever became of the request", async () => {
    const memory = new Budget(10 * MIB);
    const lengths: number[] = [];
    const { port } = await listen(async (request, response) => {
      const held = new HeldRequest(request, { maxBytes: 10 * MIB, memory });
      try {
        await held.read((piece) => lengths.push(piece.length), {});
      } finally {
        held.letGo();
        response.end();
      }
    });
    await exchange(port, sized("k", bytes(900_000)));
    await exchange(port, sized("k", bytes(3 * MIB)));
    const broken = raw(port, sized("k", bytes(900_000)).subarray(0, 500_000));
    await until(() => lengths.length > 3);
    broken.socket.destroy();
    await until(() => memory.usedBytes === 0);
    expect(spooled()).toBe(0);
  });

  it("a body that finds no memory goes to a file", async () => {
    const memory = new Budget(1_000);
    const { port } = await listen(async (request, response) => {
      const held = new HeldRequest(request, { maxBytes: MIB, memory });
      await held.read(() => {}, {});
      let length = 0;
      for await (const chunk of request) length += chunk.length;
      held.letGo();
      response.end(String(length));
    });
    expect(await exchange(port, sized("k", bytes(200_000)))).toMatch(/\r\n\r\n200000$/);
  });
});
