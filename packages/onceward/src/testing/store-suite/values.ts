// Cases of what goes in coming out again, exactly.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { answerOf, claimOf, newFence, recordIn, SECOND, type SuiteCase } from "./suite-case.js";

const PAYLOADS: Readonly<Record<string, () => Uint8Array>> = {
  "of 0 bytes": () => new Uint8Array(0),
  "of one NUL": () => new Uint8Array(1),
  "of every byte value": () => Uint8Array.from({ length: 256 }, (_, index) => index),
  "that is no UTF-8": () => Uint8Array.of(0xff, 0xfe, 0xc0, 0x80, 0xed, 0xa0, 0x80),
  "of 1 MiB": () => new Uint8Array(randomBytes(1024 * 1024)),
  "that is part of a larger buffer": () => new Uint8Array(randomBytes(10_000)).subarray(17, 4_017),
};

/** Labels that a careless store takes for each other, cuts off or rewrites. */
const CONFUSABLES: readonly string[] = [
  "a",
  "A",
  "a ",
  " a",
  "a\0",
  "a\0b",
  "\0",
  "a%",
  "%",
  "a_",
  "_",
  "a'",
  'a"',
  "a\\",
  "*",
  "a\n",
  "ß",
  "ss",
  "\u00e9",
  "e\u0301",
  "\u212b",
  "\u00c5",
  "é".repeat(200),
  "\u00ff\u0080",
  "密钥",
  "🔑",
  "null",
  "0",
  "00",
  "",
];

export const valueCases: readonly SuiteCase[] = [
  ...Object.entries(PAYLOADS).map(
    ([name, make]): SuiteCase => ({
      title: `5.1 a payload ${name} comes back byte for byte`,
      async run(bench) {
        const payload = make();
        const { id } = await bench.done({}, { status: 200, payload });
        const expected = new Uint8Array(payload);
        assert.deepEqual(new Uint8Array((await bench.found(id))?.payload ?? [1, 2, 3]), expected);
        const claimed = recordIn(await bench.store.claim(claimOf({ id })));
        assert.deepEqual(new Uint8Array(claimed.payload ?? [1, 2, 3]), expected);
        const [listed] = (await bench.store.list({ limit: 10 })).items;
        assert.deepEqual([listed?.id, listed?.status, listed?.payload], [id, 200, null], "listings leave it out");
        const unsettled = await bench.claimed();
        await bench.store.interrupt(unsettled.id, unsettled.fence, 500, "owner");
        const next = { fence: newFence(), answer: { status: 200, payload } };
        assert.equal(await bench.store.settle(unsettled.id, unsettled.fence, next), true);
        assert.deepEqual(new Uint8Array((await bench.found(unsettled.id))?.payload ?? [1, 2, 3]), expected);
      },
    }),
  ),
  {
    title: "P2 what callers do to bytes that they gave or got changes no record",
    async run(bench) {
      const payload = new TextEncoder().encode("as it was");
      const record = await bench.claimed();
      const completing = bench.store.complete(record.id, record.fence, { status: 200, payload });
      payload.fill(0);
      await completing;
      const expected = answerOf("as it was").payload;
      const first = await bench.found(record.id);
      assert.deepEqual(new Uint8Array(first?.payload ?? []), expected);
      first?.payload?.fill(0);
      assert.deepEqual(new Uint8Array((await bench.found(record.id))?.payload ?? []), expected);
    },
  },
  {
    title: "K5 labels come back exactly: case, spaces, NUL, wildcards, normal forms, other scripts",
    async run(bench) {
      for (const label of CONFUSABLES) {
        const labels = { account: label, key: label, operation: `POST /${label}`, runId: label };
        const record = await bench.claimed({ ...labels, fingerprint: label });
        const { account, key, operation, runId, fingerprint } = (await bench.found(record.id)) ?? record;
        assert.deepEqual({ account, key, operation, runId }, labels);
        assert.equal(fingerprint, label);
      }
    },
  },
  {
    title: "K5 filters of a listing compare keys exactly",
    async run(bench) {
      const ids = new Map<string, string>();
      for (const key of CONFUSABLES) ids.set(key, (await bench.claimed({ key })).id);
      for (const [key, id] of ids) assert.deepEqual(await bench.listed({ key }), [id], JSON.stringify(key));
    },
  },
  {
    title: "P3 filters of a listing compare accounts exactly",
    async run(bench) {
      const ids = new Map<string, string>();
      for (const account of CONFUSABLES) ids.set(account, (await bench.claimed({ account })).id);
      for (const [account, id] of ids) assert.deepEqual(await bench.listed({ account }), [id], JSON.stringify(account));
      assert.deepEqual(await bench.listed({ account: "no such account" }), []);
    },
  },
  {
    title: "5.1 statuses from 100 to 999 come back",
    async run(bench) {
      for (const status of [100, 200, 204, 303, 402, 500, 599, 999]) {
        const { id } = await bench.done({}, answerOf("", status));
        assert.equal((await bench.found(id))?.status, status);
      }
    },
  },
  {
    title: "4.3 a lease of a fraction of a millisecond gives whole instants",
    async run(bench) {
      const record = await bench.claimed({ leaseMs: 10.5 * SECOND + 0.25, retention: { forMs: 1_000_000.5 } });
      const found = await bench.found(record.id);
      assert.deepEqual(found, record);
      for (const instant of [record.createdAt, record.expiresAt, record.leaseUntil])
        assert.ok(Number.isInteger(instant));
    },
  },
];
