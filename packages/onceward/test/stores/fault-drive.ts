// Sends many keyed requests and their duplicates through layers on one store while a test does its worst to it, and
// says whether the promise held.

import { setTimeout as sleep } from "node:timers/promises";
import { expect } from "vitest";
import type { Store } from "../../src/core/store.js";
import { createLayer } from "../../src/http/handle.js";
import type { Layer } from "../../src/http/layer.js";
import type { HttpResponse } from "../../src/http/message.js";
import { requestOf, response } from "../http/layer-kit.js";

export interface DriveOptions {
  /** Nodes: open stores on the same data. */
  readonly stores: readonly Store[];
  readonly keys: number;
  /** Requests for each key, at about the same time, at different nodes. */
  readonly copies: number;
  /** Over how long they are sent, in milliseconds. */
  readonly spreadMs: number;
  /** Default 2000. */
  readonly storeTimeoutMs?: number;
  /** Default `4s`. */
  readonly lease?: string;
  /** Runs meanwhile. When it has resolved the store must be sound again. */
  trouble(): Promise<void>;
}

export interface DriveReport {
  /** Operations that ran. */
  readonly runs: number;
  /** Keys whose outcome is unknown in the end. */
  readonly unknown: number;
  /** Requests that were answered otherwise than with the final answer at first: 409, or 503 `store_unavailable`. */
  readonly put: number;
}

const FINAL_MS = 60_000;

/**
 * Under `hold`: no key runs twice, every request is answered, no key is wedged, and whoever gets an operation's answer
 * gets the same one (SPEC P1, P2, P5). Clients come again at 409 and 503, as the answers say.
 */
export async function driveThroughFaults(options: DriveOptions): Promise<DriveReport> {
  const { stores, keys, copies, spreadMs, storeTimeoutMs = 2_000, lease = "4s", trouble } = options;
  let failure: unknown = null;
  const layers = stores.map((store) =>
    createLayer({
      store,
      storeTimeoutMs,
      onEvent: (event) => {
        if (event.type === "store-failed") failure = event.error;
      },
    }),
  );
  const runs = new Map<string, number>();
  const answers = new Map<string, Set<string>>();
  let put = 0;

  const once = async (layer: Layer, key: string): Promise<HttpResponse> => {
    const begun = await layer.begin(requestOf({ key, policy: { lease }, account: "alice" }));
    if (begun.kind === "answer") return begun.response;
    if (begun.kind === "pass") throw new Error(`${key} ran unprotected`);
    runs.set(key, (runs.get(key) ?? 0) + 1);
    const text = `run ${runs.get(key)} of ${key}`;
    await sleep(Math.random() * 40);
    return begun.claim.finish(response(text, 201));
  };
  const until = async (layer: Layer, key: string): Promise<HttpResponse> => {
    const giveUpAt = performance.now() + FINAL_MS;
    for (let pauseMs = 200; ; pauseMs = Math.min(2 * pauseMs, 2_000)) {
      const got = await once(layer, key);
      if (got.status === 201 || (got.status === 500 && text(got).includes("outcome_unknown"))) {
        if (got.status === 201) answers.set(key, (answers.get(key) ?? new Set()).add(text(got)));
        return got;
      }
      expect([409, 503], text(got)).toContain(got.status);
      put++;
      if (performance.now() > giveUpAt) {
        throw new Error(`${key} got no final answer; the last is ${text(got)}`, { cause: failure });
      }
      await sleep(pauseMs * (0.5 + Math.random()));
    }
  };

  const names = Array.from({ length: keys }, (_, index) => `key-${index}`);
  const sending = names.flatMap((key) =>
    Array.from({ length: copies }, async (_, copy) => {
      await sleep(Math.random() * spreadMs);
      await until(layers[copy % layers.length] as Layer, key);
    }),
  );
  await Promise.all([trouble(), ...sending]);
  await Promise.all(layers.map((layer) => layer.drain(FINAL_MS)));

  let unknown = 0;
  for (const key of names) {
    const last = await until(layers[0] as Layer, key);
    if (last.status === 500) unknown++;
  }
  for (const key of names) {
    expect(runs.get(key) ?? 0, `runs of ${key}`).toBeLessThanOrEqual(1);
    expect(answers.get(key)?.size ?? 0, `different answers for ${key}`).toBeLessThanOrEqual(1);
  }
  return { runs: [...runs.values()].reduce((sum, count) => sum + count, 0), unknown, put };
}

function text({ body }: HttpResponse): string {
  return new TextDecoder().decode(body);
}
