// Cases of SPEC §5.1–§5.3: a replay is the first answer, byte for byte.

import assert from "node:assert/strict";
import { gzipSync } from "node:zlib";
import type { HeaderList } from "../../http/message.js";
import {
  type AdapterBench,
  type AdapterCase,
  assertReplay,
  comparedFields,
  json,
  OPEN_PATH,
  text,
  until,
} from "./bench.js";
import { fieldOf, fieldsNamed } from "./http-client.js";

const EVERY_BYTE: Uint8Array = Uint8Array.from({ length: 256 }, (_, index) => index);
const GZIPPED: Uint8Array = new Uint8Array(gzipSync("compressed by the application"));

const STATUSES = [200, 201, 202, 203, 301, 302, 303, 307, 308, 400, 402, 403, 409, 410, 418, 429, 501, 503] as const;

const BODIES: readonly (readonly [what: string, headers: HeaderList, body: string | Uint8Array | null])[] = [
  ["JSON", [["Content-Type", "application/json"]], '{"a":[1,2],"b":null}'],
  ["JSON of a falsy value", [["Content-Type", "application/json"]], "0"],
  ["JSON null", [["Content-Type", "application/json"]], "null"],
  ["text beyond ASCII", [["Content-Type", "text/plain; charset=utf-8"]], "日本 – „ok“ 🎉"],
  ["binary", [["Content-Type", "application/octet-stream"]], EVERY_BYTE],
  [
    "compressed",
    [
      ["Content-Type", "text/plain"],
      ["Content-Encoding", "gzip"],
    ],
    GZIPPED,
  ],
  ["an empty text", [["Content-Type", "text/plain; charset=utf-8"]], ""],
  ["none", [], null],
  ["of some hundred KB", [["Content-Type", "application/octet-stream"]], new Uint8Array(300_000).fill(0x61)],
];

/** All fields of an answer but the one that tells the time. */
const timeless = (answer: Parameters<typeof comparedFields>[0]): HeaderList =>
  comparedFields(answer, new Set(["date"]));

export const replayCases: readonly AdapterCase[] = [
  ...STATUSES.map((status) => ({
    title: `5.1 status ${status} is replayed`,
    async run(bench: AdapterBench) {
      const headers: HeaderList = status >= 300 && status < 400 ? [["Location", "/elsewhere?a=1"]] : [];
      const node = await bench.node({ handle: (_request, run) => text(status, `run ${run}`, headers) });
      const first = await node.send();
      assert.deepEqual([first.status, first.text], [status, "run 1"]);
      if (headers.length > 0) assert.equal(fieldOf(first, "location"), "/elsewhere?a=1");
      assertReplay(first, await node.send());
      assert.equal(bench.runs, 1);
    },
  })),
  {
    title: "5.1 status 204 is replayed, without a body and its framing",
    async run(bench) {
      const node = await bench.node({
        handle: () => ({ kind: "whole", status: 204, headers: [["X-Own", "yes"]], body: null }),
      });
      const first = await node.send();
      assert.deepEqual([first.status, first.body.length, fieldOf(first, "x-own")], [204, 0, "yes"]);
      assert.equal(fieldOf(first, "content-length"), undefined);
      assertReplay(first, await node.send());
    },
  },
  ...BODIES.map(([what, headers, body]) => ({
    title: `5.1 a body that is ${what} is replayed`,
    async run(bench: AdapterBench) {
      const node = await bench.node({ handle: () => ({ kind: "whole", status: 200, headers, body }) });
      const first = await node.send();
      const sent = typeof body === "string" ? new TextEncoder().encode(body) : (body ?? new Uint8Array(0));
      assert.deepEqual(first.body, new Uint8Array(sent));
      assert.equal(fieldOf(first, "content-length"), String(sent.length));
      assert.equal(fieldOf(first, "content-encoding"), headers.find(([name]) => name === "Content-Encoding")?.[1]);
      assertReplay(first, await node.send());
    },
  })),
  {
    title: "5.1 repeated fields are replayed, all and in order",
    async run(bench) {
      const headers: HeaderList = [
        ["Link", "</1>; rel=next"],
        ["X-Between", "b"],
        ["Link", "</2>; rel=prev"],
        ["Link", "</3>; rel=last"],
      ];
      const node = await bench.node({ handle: () => text(200, "ok", headers) });
      const first = await node.send();
      assert.equal(fieldsNamed(first, "link").join(", "), "</1>; rel=next, </2>; rel=prev, </3>; rel=last");
      assertReplay(first, await node.send());
    },
  },
  {
    title: "5.1 a field's bytes beyond ASCII are replayed as they are",
    async run(bench) {
      const node = await bench.node({ handle: () => text(200, "ok", [["X-Name", "caf\u00e9 \u00fc"]]) });
      const first = await node.send();
      assert.equal(fieldOf(first, "x-name"), "caf\u00e9 \u00fc");
      assertReplay(first, await node.send());
    },
  },
  {
    title: "5.1 the first answer under a key is what the same handler answers without one",
    async run(bench) {
      const node = await bench.node({
        handle: () =>
          json(203, { a: 1 }, [
            ["X-Own", "yes"],
            ["Cache-Control", "private, max-age=3"],
            ["Vary", "Origin"],
          ]),
      });
      const [keyed, passed, open] = [
        await node.send(),
        await node.send({ key: null }),
        await node.send({ path: OPEN_PATH }),
      ];
      for (const other of [passed, open]) {
        assert.deepEqual([keyed.status, keyed.text], [other.status, other.text]);
        const names = (answer: typeof keyed): string[] =>
          timeless(answer)
            .map(([name]) => name.toLowerCase())
            .sort();
        const framing = new Set(["content-length", "transfer-encoding"]);
        const own = (answer: typeof keyed): string[] => names(answer).filter((name) => !framing.has(name));
        assert.deepEqual(own(keyed), own(other));
        assert.equal(fieldOf(keyed, "content-type"), fieldOf(other, "content-type"));
      }
    },
  },
  {
    title: "5.2 cookies are set by the first answer and not by replays",
    async run(bench) {
      const cookies: HeaderList = [
        ["Set-Cookie", "a=1; Path=/; Expires=Wed, 01 Jan 2031 00:00:00 GMT"],
        ["Set-Cookie", "b=2; HttpOnly"],
      ];
      const node = await bench.node({ handle: () => text(200, "ok", cookies) });
      const first = await node.send();
      assert.deepEqual(
        fieldsNamed(first, "set-cookie"),
        cookies.map(([, value]) => value),
      );
      const replay = await node.send();
      assertReplay(first, replay);
      assert.deepEqual(fieldsNamed(replay, "set-cookie"), []);
    },
  },
  {
    title: "5.2 keepSetCookie: replays set them too, each one apart and in order",
    async run(bench) {
      const cookies: HeaderList = [
        ["Set-Cookie", "b=2; Expires=Wed, 01 Jan 2031 00:00:00 GMT"],
        ["Set-Cookie", "a=1"],
      ];
      const node = await bench.node({ options: { keepSetCookie: true }, handle: () => text(200, "ok", cookies) });
      await node.send();
      assert.deepEqual(
        fieldsNamed(await node.send(), "set-cookie"),
        cookies.map(([, value]) => value),
      );
    },
  },
  {
    title: "5.2 keepDate: a replay has the first answer's Date",
    async run(bench) {
      const node = await bench.node({ options: { keepDate: true } });
      const first = await node.send();
      const date = fieldOf(first, "date");
      assert.ok(date !== undefined);
      await until("another second has begun", () => new Date().toUTCString() !== date);
      assert.deepEqual(fieldsNamed(await node.send(), "date"), [date]);
    },
  },
  {
    title: "5.2 otherwise a replay's Date is its own",
    async run(bench) {
      const node = await bench.node();
      const date = fieldOf(await node.send(), "date");
      assert.ok(date !== undefined, "this server sends a Date");
      // A server's clock may be late by some hundred milliseconds.
      await until("a replay has another one", async () => {
        const replayed = fieldsNamed(await node.send(), "date");
        assert.equal(replayed.length, 1);
        return replayed[0] !== date;
      });
    },
  },
  {
    title: "5.3 marker: false leaves nothing on the wire that tells a replay",
    async run(bench) {
      const node = await bench.node({
        options: { marker: false },
        handle: () => json(201, { a: 1 }, [["X-Own", "yes"]]),
      });
      const first = await node.send();
      const replay = await node.send();
      assert.deepEqual([replay.status, replay.text], [first.status, first.text]);
      assert.deepEqual(timeless(replay), timeless(first));
      const order = (answer: typeof first): string[] => answer.headers.map(([name]) => name);
      assert.deepEqual(order(replay), order(first));
      assert.equal(bench.runs, 1);
    },
  },
  {
    title: "5.3 the marker's name is a setting",
    async run(bench) {
      const node = await bench.node({ options: { marker: "X-Replayed" } });
      assert.equal(fieldOf(await node.send(), "x-replayed"), undefined);
      const replay = await node.send();
      assert.equal(fieldOf(replay, "x-replayed"), "true");
      assert.equal(fieldOf(replay, "idempotent-replayed"), undefined);
    },
  },
  {
    title: "5.3 scripts of another origin may see the marker",
    async run(bench) {
      const node = await bench.node({
        handle: () => text(200, "ok", [["Access-Control-Allow-Origin", "https://app.example"]]),
      });
      await node.send();
      assert.equal(fieldOf(await node.send(), "access-control-expose-headers"), "Idempotent-Replayed");
    },
  },
  {
    title: "5.7 Onceward-* fields are between the operation and the layer, and never sent",
    async run(bench) {
      const node = await bench.node({ handle: () => text(200, "ok", [["Onceward-Note", "internal"]]) });
      for (const answer of [await node.send(), await node.send()])
        assert.equal(fieldOf(answer, "onceward-note"), undefined);
    },
  },
];
