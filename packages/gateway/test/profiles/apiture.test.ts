// The apiture profile against "Idempotent Operations" of the Apiture developers' documentation, sentence by sentence.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { type Client, clientOf, type Received } from "./harness/client.js";
import { expectProblem, expectReplay, wireOf } from "./harness/expectations.js";
import { type Gateway, type GatewayUnderTest, startGateway, startGatewayAt } from "./harness/gateway.js";
import { DAY } from "./harness/held-clock.js";
import { gate, type Reply, type Seen, startUpstream, type Upstream } from "./harness/upstream.js";

/** A bank: every transfer that reaches it moves money. Amounts in dollars; negative ones are debits. */
class Bank {
  moved: { readonly amount: number; readonly key: string | undefined }[] = [];

  readonly serve = ({ method, url, body, key }: Seen, nth: number): Reply => {
    if (url !== "/transfers") return json(200, { served: `${method} ${url}`, nth });
    const { amount } = JSON.parse(body) as { amount: number };
    this.moved.push({ amount, key });
    return json(201, { transfer: nth, amount, balance: this.balance });
  };

  get debits(): readonly number[] {
    return this.moved.map(({ amount }) => amount).filter((amount) => amount < 0);
  }

  get balance(): number {
    return this.moved.reduce((sum, { amount }) => sum + amount, 1_000);
  }
}

function json(status: number, body: unknown): Reply {
  return { status, headers: [["Content-Type", "application/json"]], body: JSON.stringify(body) };
}

let bank: Bank;
let upstream: Upstream;
let gateway: Gateway;
let held: GatewayUnderTest;
let send: Client;

beforeAll(async () => {
  upstream = await startUpstream((seen, nth) => bank.serve(seen, nth));
  const config = { upstream: upstream.url, profile: "apiture", timeouts: { purge: "100ms" } };
  [gateway, held] = await Promise.all([startGateway(config), startGatewayAt("2022-06-01T00:00:00Z", config)]);
  send = clientOf(gateway.origin, { path: "/transfers" });
});

beforeEach(() => {
  bank = new Bank();
});

afterAll(async () => {
  await Promise.all([gateway?.stop(), held?.stop()]);
  await upstream?.close();
});

function transfer(amount: number, key: string, account = "alice"): Promise<Received> {
  return send({ key, account, body: JSON.stringify({ amount }) });
}

describe("the example of four transfers", () => {
  test('"Only two of them have the same idempotency key": in order, three transfers run and #4 gets #1\'s answer', async () => {
    const first = await transfer(-10, "12345");
    const second = await transfer(-10, "54321");
    const third = await transfer(15, "98765");
    const fourth = await transfer(-10, "12345");
    // As written, #3 has no minus sign: two debits and one credit ran, and #4 "would not cause another debit".
    expect(bank.moved).toEqual([
      { amount: -10, key: "12345" },
      { amount: -10, key: "54321" },
      { amount: 15, key: "98765" },
    ]);
    expect(bank.balance).toBe(1_000 - 10 - 10 + 15);
    for (const answer of [first, second, third]) expect(answer.status).toBe(201);
    expect(new Set([first, second, third].map((answer) => answer.body.toString())).size).toBe(3);
    expectReplay(fourth, first, null);
  });

  test('"three debits, not four": the same four keys, each a debit (issue 2)', async () => {
    const account = "carol";
    const answers = [];
    for (const key of ["12345", "54321", "98765", "12345"]) answers.push(await transfer(-10, key, account));
    expect(bank.debits).toEqual([-10, -10, -10]);
    const [first, , , fourth] = answers;
    if (first !== undefined && fourth !== undefined) expectReplay(fourth, first, null);
  });

  test.each([1, 2, 3, 4, 5])(
    '"may have gotten the following requests around the same time": all four at once, round %i',
    async (round) => {
      const account = `round ${round}`;
      const asked = [
        [-10, "12345"],
        [-10, "54321"],
        [15, "98765"],
        [-10, "12345"],
      ] as const;
      const answers = await Promise.all(asked.map(([amount, key]) => transfer(amount, key, account)));
      expect(bank.moved, "three transfers, not four").toHaveLength(3);
      expect(bank.debits).toHaveLength(2);
      expect(bank.moved.filter(({ key }) => key === "12345")).toHaveLength(1);
      expect(answers[1]?.status).toBe(201);
      expect(answers[2]?.status).toBe(201);
      // Whichever of #1 and #4 came second was told to come back, or got the answer.
      const statuses = [answers[0]?.status, answers[3]?.status].sort();
      expect([
        [201, 201],
        [201, 409],
      ]).toContainEqual(statuses);
      const one = await transfer(-10, "12345", account);
      const four = await transfer(-10, "12345", account);
      expect(wireOf(four)).toBe(wireOf(one));
      for (const answer of [answers[0], answers[3]]) {
        if (answer?.status === 201) expectReplay(one, answer, null);
        else if (answer !== undefined) expectProblem(answer, 409, "in_progress");
      }
      expect(bank.moved).toHaveLength(3);
    },
  );

  test('"does not want $20 or $30 dollars debited by accident": a hundred at once debit $10 (P1)', async () => {
    const answers = await Promise.all(Array.from({ length: 100 }, () => transfer(-10, "a-hundred")));
    expect(bank.debits).toEqual([-10]);
    expect(bank.balance).toBe(990);
    const done = answers.filter((answer) => answer.status === 201);
    expect(done.length).toBeGreaterThanOrEqual(1);
    expect(new Set(done.map((answer) => answer.body.toString())).size).toBe(1);
    for (const answer of answers) expect([201, 409]).toContain(answer.status);
    expect((await transfer(-10, "a-hundred")).body).toEqual(done[0]?.body);
  });
});

describe("idempotent operations", () => {
  test('"safely be run multiple times while always returning the same result" (P2)', async () => {
    const first = await transfer(-10, "same-result");
    for (let time = 0; time < 5; time += 1) expectReplay(await transfer(-10, "same-result"), first, null);
    expect(bank.debits).toEqual([-10]);
  });

  test('"a networking error prevented the client from receiving the response": the retry gets it, nothing runs again (§4.7)', async () => {
    const under = gate();
    upstream.answer("lost-answer", async (seen, nth) => {
      await under.pass();
      return bank.serve(seen, nth);
    });
    const body = '{"amount":-10}';
    await expect(send({ key: "lost-answer", body, leaveAfter: under.entered })).rejects.toThrow();
    under.open();
    await gateway.runs("lost-answer", 1);
    const retry = await transfer(-10, "lost-answer");
    expect(retry.status).toBe(201);
    expect(retry.json()).toMatchObject({ amount: -10, balance: 990 });
    expect(bank.debits).toEqual([-10]);
  });

  test('"sends back the same response it attempted to send during the original request": whatever it was (§12 recorded)', async () => {
    for (const status of [200, 202, 204, 303, 402, 500, 502, 503]) {
      const key = `attempted-${status}`;
      upstream.answer(key, (_, nth) => ({
        status,
        headers: [["X-Nth", String(nth)]],
        ...(status === 204 ? {} : { body: `${nth}` }),
      }));
      const first = await transfer(-10, key);
      expect(first.status).toBe(status);
      expectReplay(await transfer(-10, key), first, null);
      expect(upstream.runs(key)).toBe(1);
    }
  });

  test.each([400, 404, 409, 422])(
    '"the same response": %i too, since no exception is made for validation (§12 recorded as run)',
    async (status) => {
      const key = `validation-${status}`;
      upstream.answer(key, (_, nth) => ({ status, body: `fault ${nth}` }));
      const first = await transfer(-10, key);
      expectReplay(await transfer(-10, key), first, null);
      expectReplay(await transfer(-20, key), first, null);
      expect(upstream.runs(key)).toBe(1);
    },
  );

  test.each([401, 403, 429])(
    "a refusal of the caller itself is no execution: %i leaves the key unused (§12)",
    async (status) => {
      const key = `refused-${status}`;
      upstream.answer(key, { status, body: "refused" });
      expect((await transfer(-10, key)).status).toBe(status);
      upstream.answer(key, bank.serve);
      expect((await transfer(-10, key)).status).toBe(201);
      expect(bank.debits).toEqual([-10]);
    },
  );

  test('"does not do any of the work that was requested": a duplicate never reaches the service', async () => {
    await transfer(-10, "no-work");
    const ran = upstream.seen.length;
    await transfer(-10, "no-work");
    expect(upstream.seen.length).toBe(ran);
  });

  test("while the first request runs a duplicate gets 409 and does not run (§12 duplicate while running)", async () => {
    const under = gate();
    upstream.answer("running", async (seen, nth) => {
      await under.pass();
      return bank.serve(seen, nth);
    });
    const first = transfer(-10, "running");
    await under.entered;
    expectProblem(await transfer(-10, "running"), 409, "in_progress");
    expectProblem(await transfer(-99, "running"), 409, "in_progress");
    under.open();
    const done = await first;
    expect(done.status).toBe(201);
    expectReplay(await transfer(-10, "running"), done, null);
    expect(bank.debits).toEqual([-10]);
  });
});

describe('"certain operations are guaranteed to be idempotent but do not require an idempotency key"', () => {
  test.each(["GET", "PUT", "DELETE"])(
    '"such as GET, PUT and DELETE": %s passes through, key or not (K8)',
    async (method) => {
      const key = `unkeyed-${method}`;
      const first = await send({ method, path: "/accounts/1", key });
      const second = await send({ method, path: "/accounts/1", key });
      expect(first.status).toBe(200);
      expect(second.body).not.toEqual(first.body);
      expect(upstream.runs(key)).toBe(2);
      expect((await send({ method, path: "/accounts/1", account: null })).status, "no key is required").toBe(200);
    },
  );

  test.each(["POST", "PATCH"])("%s is protected (§12 methods)", async (method) => {
    const key = `keyed-${method}`;
    const first = await send({ method, path: "/accounts/1", key });
    expectReplay(await send({ method, path: "/accounts/1", key }), first, null);
    expect(upstream.runs(key)).toBe(1);
  });

  test("a key that a GET carried is still unused (K8)", async () => {
    await send({ method: "GET", path: "/accounts/1", key: "carried" });
    expect((await transfer(-10, "carried")).status).toBe(201);
    expect(bank.debits).toEqual([-10]);
  });
});

describe("Apiture API idempotency keys notes", () => {
  test('"recommends a V4 UUID for idempotency keys but does not require it": five digits do (K3)', async () => {
    for (const key of ["00001", "2c9a1f0e-7a0d-4f6e-8d2a-0d5f6f0c1b2a", "order/7:retry=1"]) {
      const first = await transfer(-1, key);
      expect(first.status).toBe(201);
      expectReplay(await transfer(-1, key), first, null);
    }
    expect(bank.debits).toEqual([-1, -1, -1]);
  });

  test('"included in the header named Idempotency-Key": in any case, and in the quotes that the header field\'s draft has (K1, K2)', async () => {
    const body = '{"amount":-10}';
    const first = await send({ key: "header-name", body });
    for (const name of ["idempotency-key", "IDEMPOTENCY-KEY"]) {
      for (const value of ["header-name", '"header-name"', '"header-name";v=1']) {
        expectReplay(await send({ body, headers: [[name, value]] }), first, null);
      }
    }
    expect(bank.debits).toEqual([-10]);
    await send({ body, headers: [["X-Idempotency-Key", "header-name"]] });
    expect(bank.debits, "another header is none").toEqual([-10, -10]);
  });

  test("a key of 255 characters is one, of 256 it is refused (§12 key length)", async () => {
    const longest = "a".repeat(255);
    expect((await transfer(-1, longest)).status).toBe(201);
    expectProblem(await transfer(-1, `${longest}a`), 400, "key_invalid");
    expect(bank.debits).toEqual([-1]);
  });

  test('"removes stored idempotency keys after 24 hours": then the key runs anew, a millisecond earlier it does not (§4.10)', async () => {
    const sendHeld = clientOf(held.origin, { path: "/transfers", body: '{"amount":-10}' });
    const first = await sendHeld({ key: "12345" });
    const [record] = await held.records("12345");
    const arrivedAt = record?.createdAt ?? 0;
    expect((record?.expiresAt ?? 0) - arrivedAt).toBe(DAY);
    held.clock.set(arrivedAt + DAY - 1);
    expectReplay(await sendHeld({ key: "12345" }), first, null);
    expect(bank.debits).toEqual([-10]);
    held.clock.set(arrivedAt + DAY);
    const anew = await sendHeld({ key: "12345" });
    expect(anew.body).not.toEqual(first.body);
    expect(bank.debits).toEqual([-10, -10]);
    expectReplay(await sendHeld({ key: "12345" }), anew, null);
  });

  test('"removes stored idempotency keys": in the background, whether or not anybody asks again (§4.10)', async () => {
    const sendHeld = clientOf(held.origin, { path: "/transfers", body: '{"amount":-10}' });
    await sendHeld({ key: "to-be-removed" });
    expect(await held.records("to-be-removed")).toHaveLength(1);
    const [kept, purged] = [(await held.records()).length, await held.purged()];
    held.clock.advance(DAY);
    await held.purgedAtLeast(purged + kept);
    expect(await held.records("to-be-removed")).toEqual([]);
  });

  test('"only compares the idempotency key to previous requests, not the data contained in the request" (§12 compared)', async () => {
    const first = await transfer(-10, "data");
    for (const other of [
      { body: '{"amount":-500}' },
      { body: "not even JSON" },
      { body: '{"amount":-10}', path: "/payments" },
      { body: '{"amount":-10}', path: "/transfers?dry=1" },
      { method: "PATCH" },
    ]) {
      expectReplay(await send({ key: "data", ...other }), first, null);
    }
    expect(bank.debits).toEqual([-10]);
  });

  test("the marker is left out and the first answer's fields are repeated (§12 marker: none)", async () => {
    const first = await transfer(-10, "marker");
    const duplicate = await transfer(-10, "marker");
    expect(duplicate.header("Idempotent-Replayed")).toBeUndefined();
    expectReplay(duplicate, first, null);
  });

  test("keys of two customers never meet (P3)", async () => {
    const alice = await transfer(-10, "shared");
    const bob = await transfer(-10, "shared", "bob");
    expect(bank.debits).toEqual([-10, -10]);
    expect(bob.body).not.toEqual(alice.body);
  });
});
