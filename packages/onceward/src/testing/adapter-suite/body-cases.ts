// Cases of SPEC §5.4–§5.6: large and streaming answers, the request's body, fingerprints.

import assert from "node:assert/strict";
import {
  type AdapterBench,
  type AdapterCase,
  assertProblem,
  assertReplay,
  bodyText,
  gate,
  json,
  streamed,
  text,
  until,
} from "./bench.js";
import { claimOf } from "./claim-of.js";
import { fieldOf } from "./http-client.js";

const KB = 1_024;
const encoder = new TextEncoder();

async function* pieces(...texts: readonly string[]): AsyncGenerator<Uint8Array> {
  for (const piece of texts) {
    // In a turn of its own, as pieces of a source that takes its time.
    await new Promise((resolve) => setImmediate(resolve));
    yield encoder.encode(piece);
  }
}

async function* breaking(...texts: readonly string[]): AsyncGenerator<Uint8Array> {
  yield* pieces(...texts);
  throw new Error("the source broke off");
}

export const answerBodyCases: readonly AdapterCase[] = [
  {
    title: "5.4 an answer that comes in pieces is recorded and replayed whole",
    async run(bench) {
      const node = await bench.node({ handle: () => streamed(pieces("one ", "two ", "three"), "text/plain") });
      const first = await node.send();
      assert.deepEqual([first.status, first.text], [200, "one two three"]);
      assertReplay(first, await node.send());
      assert.equal(bench.runs, 1);
    },
  },
  {
    title: "5.4 an answer of exactly maxBody is recorded, in one piece and in several",
    async run(bench) {
      const node = await bench.node({
        options: { maxBody: 4 * KB },
        handle: (_request, run) =>
          run === 1
            ? text(200, "a".repeat(4 * KB))
            : streamed(pieces("b".repeat(3 * KB), "b".repeat(KB)), "text/plain"),
      });
      for (const key of ["k-1", "k-2"]) {
        const first = await node.send({ key });
        assert.equal(first.body.length, 4 * KB);
        assertReplay(first, await node.send({ key }));
      }
      assert.equal(bench.runs, 2);
    },
  },
  ...(["in one piece", "in several"] as const).map((how) => ({
    title: `5.4 an answer over maxBody, sent ${how}, is passed on whole and not kept`,
    async run(bench: AdapterBench) {
      const [start, end] = ["a".repeat(4 * KB), "b".repeat(40 * KB)];
      const node = await bench.node({
        options: { maxBody: 4 * KB },
        handle: () => {
          if (how === "in several") return { ...streamed(pieces(start, end), "text/plain"), status: 203 };
          return text(203, start + end, [["X-Own", "yes"]]);
        },
      });
      const first = await node.send();
      assert.deepEqual([first.status, first.text.length], [203, 44 * KB]);
      assert.equal(first.text, start + end);
      assert.equal(fieldOf(first, "content-type")?.startsWith("text/plain"), true);
      const problem = assertProblem(await node.send(), 409, "response_not_kept");
      assert.equal(problem["originalStatus"], 203);
      assert.equal(bench.runs, 1);
    },
  })),
  ...(
    [
      ["over maxBody", { maxBody: 4 * KB }, 8 * KB],
      ["that no memory is left for", { maxBuffer: "1MiB", maxBody: "16MiB" }, 2 * KB * KB],
    ] as const
  ).map(([what, options, bytes]) => ({
    title: `5.4 an answer ${what} is not gathered to its end before the client gets any of it`,
    async run(bench: AdapterBench) {
      const held = gate();
      const node = await bench.node({
        options,
        handle: () =>
          streamed(
            (async function* () {
              yield* pieces(...Array.from({ length: 32 }, () => "a".repeat(bytes / 32)));
              await held.opened;
              yield encoder.encode("end");
            })(),
            "text/plain",
          ),
      });
      const exchange = node.open();
      await until("its beginning is here", () => exchange.received().length >= bytes / 2);
      held.open();
      assert.equal((await exchange.whole).body.length, bytes + 3);
      assertProblem(await node.send(), 409, "response_not_kept");
      assert.equal(bench.runs, 1);
    },
  })),
  ...["text/event-stream", "application/x-ndjson"].map((type) => ({
    title: `5.4 ${type} is passed on as it comes, and its record says so before its first byte`,
    async run(bench: AdapterBench) {
      const held = gate();
      const node = await bench.node({
        handle: () =>
          streamed(
            (async function* () {
              yield encoder.encode("one\n");
              await held.opened;
              yield encoder.encode("two\n");
            })(),
            type,
          ),
      });
      bench.store.plan = ({ operation }) => (operation === "complete" ? { kind: "delay", ms: 100 } : undefined);
      const exchange = node.open();
      await exchange.head;
      assert.equal((await bench.store.list({ state: "done", limit: 1 })).items.length, 1);
      await until("its first piece is here", () => exchange.received() === "one\n");
      assertProblem(await node.send(), 409, "response_not_kept");
      held.open();
      assert.equal((await exchange.whole).text, "one\ntwo\n");
      assert.equal(bench.runs, 1);
    },
  })),
  {
    title: "5.4 streamingTypes is a setting",
    async run(bench) {
      const node = await bench.node({
        options: { streamingTypes: ["text/csv"] },
        handle: (_request, run) => streamed(pieces(`run ${run}`), run === 1 ? "text/csv" : "text/event-stream"),
      });
      assert.equal((await node.send()).text, "run 1");
      assertProblem(await node.send(), 409, "response_not_kept");
      assertReplay(await node.send({ key: "k-2" }), await node.send({ key: "k-2" }));
    },
  },
  {
    title: "4.9 an answer that breaks off before anything of it was sent leaves the outcome unknown",
    async run(bench) {
      const node = await bench.node({ handle: () => streamed(breaking("half an"), "text/plain") });
      await node.send().catch(() => undefined);
      assertProblem(await node.send(), 500, "outcome_unknown");
      assert.equal(bench.runs, 1);
    },
  },
  {
    title: "5.4 an answer that breaks off while it is passed on is cut off, and not run again",
    async run(bench) {
      const node = await bench.node({ handle: () => streamed(breaking("data: 1\n\n"), "text/event-stream") });
      const exchange = node.open();
      await assert.rejects(exchange.whole);
      assertProblem(await node.send(), 409, "response_not_kept");
      assert.equal(bench.runs, 1);
    },
  },
  {
    title: "4.5 an answer that streams may say that nothing started",
    async run(bench) {
      const node = await bench.node({
        handle(request, run) {
          if (run === 1) claimOf(request).notStarted();
          return streamed(pieces(`data: ${run}\n\n`), "text/event-stream");
        },
      });
      assert.equal((await node.send()).text, "data: 1\n\n");
      assert.equal((await node.send()).text, "data: 2\n\n");
      assertProblem(await node.send(), 409, "response_not_kept");
    },
  },
];

export const requestBodyCases: readonly AdapterCase[] = [
  ...(
    [
      ["JSON", "application/json", '{"amount":1,"note":"日本"}'],
      ["of 50 KB", "application/json", JSON.stringify({ note: "x".repeat(50 * KB) })],
      ["text", "text/plain", "just a text"],
      ["a form", "application/x-www-form-urlencoded", "amount=1&note=a+b"],
    ] as const
  ).map(([what, type, body]) => ({
    title: `5.5 the handler gets a body that is ${what} whole, with a key and without`,
    async run(bench: AdapterBench) {
      const node = await bench.node({ handle: (request) => json(200, { got: bodyText(request.body) }) });
      const keyed = await node.send({ body, type });
      const passed = await node.send({ key: null, body, type });
      assert.equal(keyed.status, 200, keyed.text);
      assert.equal(keyed.text, passed.text);
      const { got } = JSON.parse(keyed.text) as { readonly got: string };
      assert.ok(got.length > 0, "the handler got a body");
      if (type === "application/json") assert.deepEqual(JSON.parse(got), JSON.parse(body));
      assertReplay(keyed, await node.send({ body, type }));
    },
  })),
  {
    title: "5.5 a request without a body is keyed as any other",
    async run(bench) {
      const node = await bench.node();
      const first = await node.send({ body: null });
      assertReplay(first, await node.send({ body: null }));
      assertProblem(await node.send(), 422, "key_reused");
    },
  },
  ...(["", " in chunks"] as const).map((how) => ({
    title: `5.5 a body over maxRequestBody${how} is refused, and nothing runs; without a key it is none of the layer's business`,
    async run(bench: AdapterBench) {
      const node = await bench.node({ options: { maxRequestBody: KB } });
      const over = { body: JSON.stringify({ note: "x".repeat(2 * KB) }), chunked: how !== "" };
      assertProblem(await node.send(over), 413, "request_too_large");
      assert.equal(bench.runs, 0);
      assert.equal((await node.send({ ...over, key: null })).status, 201);
    },
  })),
  {
    title: "5.5 a body that comes in chunks is the same as in one piece",
    async run(bench) {
      const node = await bench.node({ handle: ({ body }) => text(200, bodyText(body)) });
      const first = await node.send({ chunked: true });
      assert.equal(first.text, '{"amount":1}');
      assertReplay(first, await node.send());
      assertProblem(await node.send({ chunked: true, body: '{"amount":2}' }), 422, "key_reused");
    },
  },
  {
    title: "5.6 exact: another spelling of the same JSON is another request, where the framework leaves the bytes",
    async run(bench) {
      const node = await bench.node();
      await node.send({ body: '{"amount":1}' });
      assertProblem(await node.send({ body: '{"amount": 1}' }), 422, "key_reused");
    },
  },
  {
    title: "5.6 parameters of the content type are not compared",
    async run(bench) {
      const node = await bench.node();
      assertReplay(await node.send(), await node.send({ type: "Application/JSON; charset=utf-8" }));
    },
  },
  {
    title: "5.6 json: order and spelling mean nothing, values do",
    async run(bench) {
      const node = await bench.node({ options: { fingerprint: "json" } });
      const first = await node.send({ body: '{"a":1,"b":[1,2]}' });
      assertReplay(first, await node.send({ body: '{ "b": [1, 2], "a": 1.0 }' }));
      assertProblem(await node.send({ body: '{"a":1,"b":[2,1]}' }), 422, "key_reused");
    },
  },
  {
    title: "5.6 a list of fields compares those and nothing else",
    async run(bench) {
      const node = await bench.node({ options: { fingerprint: ["amount", "/to/iban"] } });
      const first = await node.send({ body: '{"amount":1,"to":{"iban":"DE1"},"at":1}' });
      assertReplay(first, await node.send({ body: '{"at":2,"to":{"iban":"DE1","x":0},"amount":1}' }));
      assertProblem(await node.send({ body: '{"amount":1,"to":{"iban":"DE2"},"at":1}' }), 422, "key_reused");
    },
  },
  {
    title: "5.6 off compares nothing",
    async run(bench) {
      const node = await bench.node({ options: { fingerprint: "off" } });
      assertReplay(await node.send(), await node.send({ body: '{"amount":2}', path: "/orders" }));
    },
  },
  {
    title: "5.6 a function decides what is compared",
    async run(bench) {
      const node = await bench.node({
        options: {
          fingerprint: ({ method, target, body }) => {
            const { amount } = JSON.parse(new TextDecoder().decode(body)) as { readonly amount: number };
            return `${method} ${target.split("?")[0]} ${amount}`;
          },
        },
      });
      const first = await node.send({ body: '{"amount":1,"at":1}' });
      assertReplay(first, await node.send({ body: '{"amount":1,"at":2}', path: "/transfers?x=1" }));
      assertProblem(await node.send({ body: '{"amount":2,"at":1}' }), 422, "key_reused");
    },
  },
];
