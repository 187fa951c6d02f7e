// What the tests of the adapters that speak fetch share: a store, requests without a server, and what came of them.

import { expect } from "vitest";
import type { IdempotencyOptions } from "../../src/http/idempotency.js";
import { memoryStore } from "../../src/stores/memory.js";

export const ORIGIN = "http://shop.test";

/** Options that are enough, on a store of their own. */
export function options(
  over: Partial<IdempotencyOptions<unknown>> = {},
): Pick<IdempotencyOptions<unknown>, "store" | "account"> & Partial<IdempotencyOptions<unknown>> {
  return { store: memoryStore(), account: () => "alice", background: false, ...over };
}

export interface PostOver {
  readonly key?: string | null;
  readonly path?: string;
  readonly body?: RequestInit["body"];
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
}

export function post({ key = "k-1", path = "/orders", body = "{}", headers = {}, signal }: PostOver = {}): Request {
  return new Request(`${ORIGIN}${path}`, {
    method: "POST",
    headers: {
      ...(key === null ? {} : { "Idempotency-Key": key }),
      ...(typeof body === "string" ? { "Content-Type": "application/json" } : {}),
      ...headers,
    },
    body: body ?? null,
    ...(signal === undefined ? {} : { signal }),
    ...(body instanceof ReadableStream ? { duplex: "half" } : {}),
  });
}

/** All of a response, so that two can be compared. */
export interface Whole {
  readonly status: number;
  readonly headers: readonly (readonly [string, string])[];
  readonly text: string;
}

export async function whole(answer: Response | Promise<Response>): Promise<Whole> {
  const response = await answer;
  return { status: response.status, headers: [...response.headers], text: await response.text() };
}

/** SPEC P2: the same but for the marker. */
export function expectReplay(first: Whole, replay: Whole): void {
  expect(replay.headers).toContainEqual(["idempotent-replayed", "true"]);
  expect({ ...replay, headers: replay.headers.filter(([name]) => name !== "idempotent-replayed") }).toEqual({
    ...first,
    headers: first.headers.filter(([name]) => name !== "set-cookie"),
  });
}

/** The code of the layer's own answer that it is. */
export function codeOf({ text }: Whole): unknown {
  return (JSON.parse(text) as { readonly code?: unknown }).code;
}
