// What the layer's tests are built with: a layer over a memory store on a fake clock, and requests to it.

import type { Run } from "../../src/core/history.js";
import type { Policy, PolicyOptions } from "../../src/core/policy.js";
import { resolvePolicy } from "../../src/core/resolve-policy.js";
import { createLayer } from "../../src/http/handle.js";
import type { AccountReading, Begin, HttpClaim, Layer, LayerOptions, LayerRequest } from "../../src/http/layer.js";
import { type HeaderList, type HttpResponse, headerValue } from "../../src/http/message.js";
import { memoryStore } from "../../src/stores/memory.js";
import { type FakeClock, fakeClock } from "../../src/testing/fake-clock.js";
import { type Fault, type FaultOperation, type FaultStore, faultStore } from "../../src/testing/fault-store.js";

export interface LayerKit {
  readonly clock: FakeClock;
  readonly store: FaultStore;
  readonly layer: Layer;
  begin(over?: RequestOver): Promise<Begin>;
  /** A whole request: begins, runs `operation` where it owns the key, and answers what the client gets. */
  send(over?: RequestOver, operation?: (claim: HttpClaim) => Promise<HttpResponse>): Promise<Sent>;
  fault(fault?: Fault, ...operations: FaultOperation[]): void;
  /** The history, newest first, when all is written. */
  history(): Promise<readonly Run[]>;
}

export interface Sent {
  readonly ran: boolean;
  readonly status: number;
  readonly headers: HeaderList;
  readonly text: string;
  /** The problem's code, where it is one. */
  readonly code: string | undefined;
}

export interface RequestOver extends Partial<Omit<LayerRequest, "policy" | "account" | "body" | "headers">> {
  readonly policy?: PolicyOptions;
  readonly key?: string | null;
  readonly account?: string | AccountReading | Error;
  readonly text?: string;
  readonly headers?: HeaderList;
  readonly body?: LayerRequest["body"];
  readonly surface?: "library" | "gateway";
}

const policies = new Map<string, Policy>();

function policyOf(options: PolicyOptions = {}, surface: "library" | "gateway" = "gateway"): Policy {
  const made = () => resolvePolicy(options, { surface, hasRoutes: true });
  const functions = Object.values(options).some((value) => typeof value === "function");
  if (functions) return made();
  const name = surface + JSON.stringify(options);
  const policy = policies.get(name) ?? made();
  policies.set(name, policy);
  return policy;
}

export function requestOf(over: RequestOver = {}): LayerRequest {
  const { policy, key = "k-1", account = "alice", text = "{}", headers = [], surface, body, ...rest } = over;
  const resolved = policyOf(policy, surface);
  return {
    policy: resolved,
    route: "POST /v1/transfers",
    method: "POST",
    path: "/v1/transfers",
    query: "",
    headers: key === null ? headers : [[resolved.header, key], ...headers],
    namespace: "default",
    environment: "live",
    async account() {
      if (account instanceof Error) throw account;
      return typeof account === "string" ? { kind: "account", account } : account;
    },
    body:
      body ??
      (async (sink) => {
        sink(new TextEncoder().encode(text));
        return undefined;
      }),
    ...rest,
  };
}

export function response(text: string, status = 200, headers: HeaderList = []): HttpResponse {
  return { status, headers: [["Content-Type", "text/plain"], ...headers], body: new TextEncoder().encode(text) };
}

export interface KitOptions extends Omit<Partial<LayerOptions>, "store" | "clock"> {
  readonly store?: FaultStore;
  readonly clock?: FakeClock;
}

export function layerKit(options: KitOptions = {}): LayerKit {
  const clock = options.clock ?? fakeClock();
  const store = options.store ?? faultStore(memoryStore({ clock }), () => undefined, { clock });
  const layer = createLayer({ storeTimeoutMs: 500, ...options, store, clock });
  let runs = 0;
  const kit: LayerKit = {
    clock,
    store,
    layer,
    begin: (over) => layer.begin(requestOf(over)),
    async send(over, operation = async (claim) => claim.finish(response(`run ${++runs}`, 201))) {
      const begun = await kit.begin(over);
      if (begun.kind === "answer") return sent(false, begun.response);
      if (begun.kind === "pass") return sent(true, { ...response(`unprotected ${++runs}`), headers: begun.headers });
      return sent(true, await operation(begun.claim));
    },
    fault(fault, ...operations) {
      store.plan = ({ operation }) => (operations.includes(operation) ? fault : undefined);
    },
    async history() {
      const drained = layer.drain(1_000);
      await clock.run(1_000);
      await drained;
      return (await store.history?.listRuns({ limit: 100 }))?.items ?? [];
    },
  };
  return kit;
}

function sent(ran: boolean, { status, headers, body }: HttpResponse): Sent {
  const text = new TextDecoder().decode(body);
  const json = headerValue(headers, "content-type")?.includes("json") === true;
  const parsed = json ? (JSON.parse(text) as { code?: string; error?: { code?: string } }) : undefined;
  return { ran, status, headers, text, code: parsed?.code ?? parsed?.error?.code };
}

/** The claim of a request that owns its key. */
export function claimOf(begun: Begin): HttpClaim {
  if (begun.kind !== "run") throw new Error(`not run: ${JSON.stringify(begun)}`);
  return begun.claim;
}
