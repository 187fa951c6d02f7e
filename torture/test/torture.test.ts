// Servers killed by SIGKILL at a statement drawn at random, again and again, while clients retry (SPEC §7.1, §7.2).
// `ONCEWARD_TORTURE_RUNS=500 npm test -- --project torture` for as many lives as the promise was judged by.

import { type ChildProcess, spawn } from "node:child_process";
import { randomInt, randomUUID } from "node:crypto";
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { freePort, lookUp, MARIADB, POSTGRES, startMariadb, startPostgres, temporaryFolder } from "@onceward/services";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { DATABASES, LEDGER } from "../src/databases.mjs";

const RUNS = Number(process.env["ONCEWARD_TORTURE_RUNS"] ?? 12);
const CLIENTS = 6;
/** Statements of a life: a few operations of each client. */
const LONGEST_LIFE = 120;
const MOMENTS = ["before", "sent", "answered"] as const;
const TEST_MS = 60_000 + RUNS * 5_000;

interface Reader {
  query(sql: string): Promise<readonly Readonly<Record<string, unknown>>[]>;
  end(): Promise<void>;
}

interface Place {
  readonly url: string;
  remove(): Promise<void>;
}

const PLACES: Readonly<Record<keyof typeof DATABASES, { missing: string | null; start(): Promise<Place> }>> = {
  postgres: { missing: missing(POSTGRES), start: startPostgres },
  mysql: { missing: missing(MARIADB), start: startMariadb },
  sqlite: {
    missing: null,
    start: async () => ({ url: join(temporaryFolder("torture"), "ledger.db"), remove: async () => {} }),
  },
};

function missing(needs: Parameters<typeof lookUp>[0]): string | null {
  const source = lookUp(needs, { ...process.env, [needs.variable]: "" });
  return source.kind === "missing" ? source.reason : null;
}

/** The service that steps call: what each was called with, in order. */
interface Call {
  readonly step: string;
  readonly operation: string;
  readonly idempotencyKey: string;
}

for (const [name, { missing: reason, start }] of Object.entries(PLACES)) {
  const database = name as keyof typeof DATABASES;
  describe.skipIf(reason !== null)(`${database}, killed ${RUNS} times`, () => {
    let place: Place;
    let reader: Reader;
    let downstream: Server;
    const calls: Call[] = [];

    beforeAll(async () => {
      place = await start();
      reader = DATABASES[database](place.url, (object: object) => object) as Reader;
      for (const statement of LEDGER) await reader.query(statement);
      downstream = createServer(async (request, response) => {
        let text = "";
        for await (const chunk of request) text += chunk;
        calls.push(JSON.parse(text));
        response.end(randomUUID());
      }).listen(0, "127.0.0.1");
      await once(downstream, "listening");
    }, 120_000);

    afterAll(async () => {
      for (const child of alive) child.kill("SIGKILL");
      await reader.end();
      downstream.close();
      await place.remove();
    });

    test(
      "7.1 the ledger shows each key's effect exactly once, and every client ends with the one answer",
      async () => {
        const answers = await torture("/transfer");
        const rows = await reader.query("SELECT k, effect FROM ledger");
        const effects = new Map(rows.map((row) => [row["k"], row["effect"]]));
        expect(rows).toHaveLength(effects.size);
        expect(effects.size).toBe(answers.size);
        for (const [key, answer] of answers) expect(JSON.parse(answer)).toEqual({ effect: effects.get(key) });
        const [total] = await reader.query("SELECT amount FROM total");
        expect(Number(total?.["amount"])).toBe(answers.size);
      },
      TEST_MS,
    );

    test(
      "7.2 a finished step is not run again, and a repeated call has the same downstream key",
      async () => {
        const answers = await torture("/steps");
        for (const key of answers.keys()) {
          const own = calls.filter(({ operation }) => operation === key);
          const [reserves, charges] = ["reserve", "charge"].map((step) => own.filter((call) => call.step === step));
          expect(new Set(reserves?.map(({ idempotencyKey }) => idempotencyKey)).size).toBe(1);
          expect(new Set(charges?.map(({ idempotencyKey }) => idempotencyKey)).size).toBe(1);
          expect(reserves?.[0]?.idempotencyKey).not.toBe(charges?.[0]?.idempotencyKey);
          // Once the second step has begun, the first was recorded, and stays so.
          expect(own.findLastIndex(({ step }) => step === "reserve")).toBeLessThan(
            own.findIndex(({ step }) => step === "charge"),
          );
        }
        expect(new Set(calls.map(({ idempotencyKey }) => idempotencyKey)).size).toBe(2 * answers.size);
      },
      TEST_MS,
    );

    /** Lets servers die and clients retry; answers what each key's client ended with. */
    async function torture(path: string): Promise<Map<string, string>> {
      const port = await freePort();
      const answers = new Map<string, string>();
      const state = { over: false };
      const address = downstream.address() as { readonly port: number };
      const life = { database, url: place.url, port, downstream: `http://127.0.0.1:${address.port}` };
      const clients = Array.from({ length: CLIENTS }, async (_, client) => {
        for (let index = 0; !state.over; index++) {
          const key = `${path.slice(1)}-${client}-${index}`;
          const first = await untilAnswered(port, path, key);
          answers.set(key, first);
          // And a duplicate gets the same, whoever is alive by then.
          expect(await untilAnswered(port, path, key)).toBe(first);
        }
      });
      const lives = (async () => {
        for (let run = 0; run < RUNS; run++) {
          const draw = { at: randomInt(1, LONGEST_LIFE), moment: MOMENTS[run % MOMENTS.length] };
          await startServer({ ...life, ...draw }).died;
        }
      })();
      // A client ends before that only where it failed.
      await Promise.race([lives, Promise.race(clients)]);
      state.over = true;
      const last = startServer({ ...life, at: 0, moment: "before" });
      await Promise.all(clients).finally(() => last.child.kill("SIGKILL"));
      await last.died;
      return answers;
    }
  });
}

/** A test that fails leaves its server to be ended. */
const alive = new Set<ChildProcess>();

function startServer(life: object): { readonly child: ChildProcess; readonly died: Promise<void> } {
  const script = fileURLToPath(new URL("../src/server.mjs", import.meta.url));
  const child = spawn(process.execPath, [script, JSON.stringify(life)], { stdio: ["ignore", "ignore", "inherit"] });
  alive.add(child);
  const died = once(child, "exit").then(([code, signal]) => {
    alive.delete(child);
    if (signal !== "SIGKILL") throw new Error(`a server ended by itself, with code ${code}`);
  });
  // Reported to whoever waits for it.
  died.catch(() => {});
  return { child, died };
}

/** Sends the request again until it is answered 201: what a client with retries does. */
async function untilAnswered(port: number, path: string, key: string): Promise<string> {
  for (;;) {
    try {
      const response = await fetch(`http://127.0.0.1:${port}${path}`, {
        method: "POST",
        headers: { "Idempotency-Key": key },
        body: "x",
      });
      const text = await response.text();
      if (response.status === 201) return text;
      if (![409, 503].includes(response.status)) throw new Unexpected(`${key}: ${response.status} ${text}`);
    } catch (error) {
      if (error instanceof Unexpected) throw error;
    }
    await sleep(40);
  }
}

class Unexpected extends Error {}
