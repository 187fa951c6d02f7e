// What a case of the adapter suite works with: apps on one store, a clock that can be moved, short ways to say things.

import assert from "node:assert/strict";
import type { IdempotencyOptions } from "../../http/idempotency-options.js";
import type { HeaderList } from "../../http/message.js";
import { headerValue } from "../../http/message.js";
import { memoryStore } from "../../stores/memory.js";
import { type FaultStore, faultStore } from "../fault-store.js";
import { openExchange, type WireAnswer, type WireExchange } from "./http-client.js";
import type { RunningApp, SuiteAnswer, SuiteApp, SuiteRequest } from "./suite-app.js";

export interface AdapterCase {
  /** Begins with the clause that it proves. */
  readonly title: string;
  run(bench: AdapterBench): Promise<void>;
}

/** The cases know nothing of what a framework's handlers return. */
type Sent = unknown;
type Answer = SuiteAnswer<Sent>;
export type CaseRequest = SuiteRequest<Sent>;

/** A case's handler. `run` counts the times that a handler of the case was called, from 1. */
export type CaseHandler = (request: CaseRequest, run: number) => Answer | Promise<Answer>;

export interface NodeSettings {
  /** Beside the suite's own account resolver and store. */
  readonly options?: Partial<IdempotencyOptions<unknown>>;
  /** Default: 201 with the number of the run. */
  readonly handle?: CaseHandler;
}

/** A request of the suite's client, but for what is left out. */
export interface ClientRequest {
  readonly method?: string;
  readonly path?: string;
  readonly key?: string | null;
  readonly account?: string | null;
  readonly headers?: HeaderList;
  readonly body?: string | Uint8Array | null;
  /** null: none is sent. */
  readonly type?: string | null;
  /** Whether the body comes in chunks, without its length. */
  readonly chunked?: boolean;
}

/** One app of the case. */
export interface SuiteNode {
  send(request?: ClientRequest): Promise<WireAnswer>;
  open(request?: ClientRequest, partial?: { readonly announcedBytes: number }): WireExchange;
}

const METHODS = ["GET", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"] as const;
/** Behind the middleware. */
const GUARDED = ["/transfers", "/orders"] as const;
/** Not behind it. */
export const OPEN_PATH = "/open";
const LONGEST_WAIT_MS = 15_000;

export class AdapterBench {
  /** The records of the case, judged by a clock that {@link advance} moves. */
  readonly store: FaultStore;
  readonly #start: (app: SuiteApp<Sent>) => Promise<RunningApp>;
  readonly #apps: RunningApp[] = [];
  readonly #views: FaultStore[] = [];
  #offsetMs = 0;
  #runs = 0;

  constructor(start: (app: SuiteApp<Sent>) => Promise<RunningApp>) {
    this.#start = start;
    this.store = faultStore(memoryStore({ clock: { now: () => this.now() } }), () => undefined);
  }

  /** How often a handler of the case was called. */
  get runs(): number {
    return this.#runs;
  }

  /** The store's clock. */
  now(): number {
    return Date.now() + this.#offsetMs;
  }

  /** Moves the clock that leases and expiry are judged by. */
  advance(ms: number): void {
    this.#offsetMs += ms;
  }

  /** A store of another node on the same records, with faults of its own. */
  ownView(): FaultStore {
    const view = faultStore(this.store, () => undefined);
    // The records live until the case is over, whichever node stops.
    view.close = async () => {};
    this.#views.push(view);
    return view;
  }

  /** Starts an app. */
  async node({ options = {}, handle = numbered }: NodeSettings = {}): Promise<SuiteNode> {
    const app = await this.#start({
      options: {
        store: this.store,
        account: (_request, headers) => headerValue(headers, "x-account"),
        background: false,
        ...options,
      },
      routes: [...GUARDED, OPEN_PATH].flatMap((path) =>
        METHODS.map((method) => ({
          method,
          path,
          guarded: path !== OPEN_PATH,
          handle: async (request: CaseRequest) => handle(request, ++this.#runs),
        })),
      ),
    });
    this.#apps.push(app);
    const open: SuiteNode["open"] = (request, partial) => openExchange(app.url, wireRequest(request), partial);
    return { open, send: (request) => open(request).whole };
  }

  async end(): Promise<void> {
    // What could not be recorded is on its way still.
    for (const store of [this.store, ...this.#views]) store.plan = () => undefined;
    for (const app of this.#apps) await app.close();
  }
}

function wireRequest(request: ClientRequest = {}): Parameters<typeof openExchange>[1] {
  const {
    method = "POST",
    path = "/transfers",
    key = "k-1",
    account = "alice",
    headers = [],
    chunked = false,
  } = request;
  const bodied = method !== "GET" && method !== "HEAD" && method !== "OPTIONS" && method !== "DELETE";
  const { body = bodied ? '{"amount":1}' : null, type = body === null ? null : "application/json" } = request;
  const fields: (readonly [string, string])[] = [];
  if (account !== null) fields.push(["X-Account", account]);
  if (key !== null) fields.push(["Idempotency-Key", key]);
  if (type !== null) fields.push(["Content-Type", type]);
  const bytes = typeof body === "string" ? new TextEncoder().encode(body) : body;
  return { method, path, headers: [...fields, ...headers], body: bytes, chunked };
}

function numbered(_request: CaseRequest, run: number): Answer {
  return json(201, { run });
}

export function json(status: number, value: unknown, headers: HeaderList = []): Answer {
  return {
    kind: "whole",
    status,
    headers: [["Content-Type", "application/json"], ...headers],
    body: JSON.stringify(value),
  };
}

export function text(status: number, body: string, headers: HeaderList = []): Answer {
  return { kind: "whole", status, headers: [["Content-Type", "text/plain; charset=utf-8"], ...headers], body };
}

export function streamed(
  chunks: AsyncIterable<Uint8Array>,
  type = "application/octet-stream",
  headers: HeaderList = [],
): Answer {
  return { kind: "stream", status: 200, headers: [["Content-Type", type], ...headers], chunks };
}

/** A body as text, in whichever form the framework gave it. */
export function bodyText(body: unknown): string {
  if (body === undefined || body === null) return "";
  if (typeof body === "string") return body;
  if (body instanceof Uint8Array) return new TextDecoder().decode(body);
  return JSON.stringify(body);
}

/** A promise that is settled from outside. */
export interface Gate {
  readonly opened: Promise<void>;
  open(): void;
}

export function gate(): Gate {
  let open: () => void = () => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}

/** Waits until something holds, and fails where it does not come to. */
export async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const giveUpAt = performance.now() + LONGEST_WAIT_MS;
  while (!(await holds())) {
    if (performance.now() > giveUpAt) assert.fail(`It never came to this: ${what}.`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** The problem that an answer is, of this status and code. */
export function assertProblem(answer: WireAnswer, status: number, code: string): Readonly<Record<string, unknown>> {
  assert.equal(answer.status, status, answer.text);
  const type = headerValue(answer.headers, "content-type");
  assert.equal(type, "application/problem+json");
  assert.equal(headerValue(answer.headers, "cache-control"), "no-store");
  const problem = JSON.parse(answer.text) as Readonly<Record<string, unknown>>;
  assert.equal(problem["code"], code);
  assert.equal(problem["status"], status);
  return problem;
}

/** Fields that may differ between a first answer and its replay (SPEC §5.2, §5.3). */
const DIFFERENT: ReadonlySet<string> = new Set(["date", "idempotent-replayed", "set-cookie"]);

export function comparedFields(answer: WireAnswer, except: ReadonlySet<string> = DIFFERENT): HeaderList {
  return answer.headers.filter(([name]) => !except.has(name.toLowerCase()));
}

/** SPEC P2: the same status, fields in order, and bytes; and marked as a replay, which the first is not. */
export function assertReplay(first: WireAnswer, replay: WireAnswer): void {
  assert.equal(replay.status, first.status, replay.text);
  assert.deepEqual(comparedFields(replay), comparedFields(first));
  assert.deepEqual(replay.body, first.body);
  assert.equal(headerValue(first.headers, "idempotent-replayed"), undefined);
  assert.equal(headerValue(replay.headers, "idempotent-replayed"), "true");
}
