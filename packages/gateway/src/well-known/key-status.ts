// What became of a key (SPEC §10.2), for the account that asks and nobody else.

import { isIdempotencyError, type RequestErrorCode } from "onceward";
import {
  ANONYMOUS,
  accountProblem,
  type HttpResponse,
  type KeyState,
  type Layer,
  normalisePath,
  problem,
  problemResponse,
} from "onceward/http";
import type { Accounts } from "../accounts/accounts.js";
import type { Route } from "../config/config.js";
import type { KeyStatus } from "../contract.js";
import { DOCUMENT_PATH } from "./policy-document.js";
import type { WellKnownRequest } from "./well-known-request.js";

export interface KeyStatusDeps {
  readonly routes: readonly Route[];
  readonly namespace: string;
  readonly layer: Pick<Layer, "keyState">;
  readonly accounts: Accounts;
  /** The route of a request, its condition included, as for any request. */
  readonly findRoute: (method: string, path: string, request: WellKnownRequest) => Route | null;
}

/** In characters; the longest that any profile takes. */
const MAX_KEY_LENGTH = 8_192;
/** SPEC K3: what a key in quotes may hold. */
const KEY = /^[\x20-\x7e]+$/;

/** `encodedKey` is the last segment of the path as received. Every answer depends on the caller's own records alone. */
export async function keyStatus(
  deps: KeyStatusDeps,
  request: WellKnownRequest,
  encodedKey: string,
): Promise<HttpResponse> {
  const key = decodeKey(encodedKey);
  if (key === null) {
    return refuse(
      "key_invalid",
      "The key in the path is not one: percent-encode it, a slash as %2F, and send it without quotes.",
    );
  }
  const operation = readOperation(deps, request);
  if (!operation.ok) return refuse("request_invalid", operation.detail);
  const account = await deps.accounts.resolve(request.headers);
  if (account.kind === "refused") return problemResponse(accountProblem(account), "problem", DOCUMENT_PATH);
  if (account.account === ANONYMOUS) {
    return refuse(
      "account_unknown",
      "The state of a key is for the account that used it, so send the credential that you sent with it.",
    );
  }
  const { account: name, previous } = account;
  const { namespace } = deps;
  const { environment } = request;
  try {
    const query = { namespace, environment, account: name, operation: operation.operation, key };
    const state = await deps.layer.keyState(previous === undefined ? query : { ...query, previous });
    return answer(statusOf(state));
  } catch (error) {
    if (isIdempotencyError(error, "store_unavailable"))
      return refuse("store_unavailable", "The key could not be looked up; try again.");
    throw error;
  }
}

function decodeKey(encoded: string): string | null {
  try {
    const key = decodeURIComponent(encoded);
    return KEY.test(key) && key.length <= MAX_KEY_LENGTH ? key : null;
  } catch {
    return null;
  }
}

type Operation =
  | { readonly ok: true; readonly operation: string | null }
  | { readonly ok: false; readonly detail: string };

/** The part of the scope that a policy of `scope: account+operation` adds: null where there is none. */
function readOperation(deps: KeyStatusDeps, request: WellKnownRequest): Operation {
  const given = new URLSearchParams(request.query).getAll("operation");
  const [text] = given;
  if (given.length > 1) return { ok: false, detail: "The parameter operation was given more than once." };
  if (text === undefined) {
    const perOperation = deps.routes.some((route) => route.policy?.scope === "account+operation");
    const detail =
      "Keys are unique for each operation on some routes here, so say which one: ?operation=POST%20/v1/transfers";
    return perOperation ? { ok: false, detail } : { ok: true, operation: null };
  }
  const match = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+) (\/.*)$/.exec(text);
  const reading = match === null ? null : normalisePath(match[2] ?? "");
  if (match === null || reading?.ok !== true) {
    return {
      ok: false,
      detail: "The parameter operation is a method, a space and a path, such as ?operation=POST%20/v1/transfers",
    };
  }
  const [, method = ""] = match;
  const route = deps.findRoute(method, reading.path, request);
  return { ok: true, operation: route?.policy?.scope === "account+operation" ? `${method} ${reading.path}` : null };
}

function statusOf(state: KeyState): KeyStatus {
  const time = (at: number): string => new Date(at).toISOString();
  switch (state.state) {
    case "absent":
      return { state: "absent" };
    case "running":
      return { state: "running", since: time(state.since) };
    case "unknown":
      return { state: "unknown", since: time(state.since), expiresAt: time(state.expiresAt) };
    case "done": {
      const { since, endedAt, status, expiresAt } = state;
      return { state: "done", since: time(since), endedAt: time(endedAt), status, expiresAt: time(expiresAt) };
    }
  }
}

function answer(status: KeyStatus): HttpResponse {
  const headers = [
    ["Content-Type", "application/json"],
    ["Cache-Control", "no-store"],
    ["X-Content-Type-Options", "nosniff"],
  ] as const;
  return { status: 200, headers, body: new TextEncoder().encode(`${JSON.stringify(status)}\n`) };
}

function refuse(code: RequestErrorCode, detail: string): HttpResponse {
  return problemResponse(problem(code, { detail }), "problem", DOCUMENT_PATH);
}
