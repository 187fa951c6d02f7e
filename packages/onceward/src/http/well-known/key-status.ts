// What became of a key (SPEC §10.2), for the account that asks and nobody else.

import { isIdempotencyError, type RequestErrorCode } from "../../core/errors.js";
import { ANONYMOUS } from "../accounts/refusal.js";
import type { AccountReading, KeyState, Layer } from "../layer.js";
import type { HttpResponse } from "../message.js";
import { normalisePath } from "../path.js";
import { accountProblem, problem, problemResponse } from "../problem.js";
import { DOCUMENT_PATH } from "./policy-document.js";
import type { KeyStatus } from "./published.js";

/** Who asks for a key, and where. */
export interface KeyQuestion {
  /** The last segment of the path as received. */
  readonly encodedKey: string;
  /** With or without its `?`. */
  readonly query: string;
  readonly namespace: string;
  /** As for any request of this caller (SPEC S5). */
  readonly environment: string;
  account(): AccountReading | Promise<AccountReading>;
}

export interface KeyStatusDeps {
  readonly layer: Pick<Layer, "keyState">;
  /** Whether keys are unique for each operation somewhere (`scope: account+operation`). */
  readonly perOperation: boolean;
  /** Whether they are so for this one. */
  readonly isPerOperation: (method: string, path: string) => boolean;
}

/** In characters; the longest that any profile takes. */
const MAX_KEY_LENGTH = 8_192;
/** SPEC K3: what a key in quotes may hold. */
const KEY = /^[\x20-\x7e]+$/;

/** Every answer depends on the caller's own records alone. */
export async function keyStatus(deps: KeyStatusDeps, question: KeyQuestion): Promise<HttpResponse> {
  const key = decodeKey(question.encodedKey);
  if (key === null) {
    return refuse(
      "key_invalid",
      "The key in the path is not one: percent-encode it, a slash as %2F, and send it without quotes.",
    );
  }
  const operation = readOperation(deps, question.query);
  if (!operation.ok) return refuse("request_invalid", operation.detail);
  const account = await question.account();
  if (account.kind === "refused") return problemResponse(accountProblem(account), "problem", DOCUMENT_PATH);
  if (account.account === ANONYMOUS) {
    return refuse(
      "account_unknown",
      "The state of a key is for the account that used it, so send the credential that you sent with it.",
    );
  }
  const { account: name, previous } = account;
  const { namespace, environment } = question;
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
function readOperation({ perOperation, isPerOperation }: KeyStatusDeps, query: string): Operation {
  const given = new URLSearchParams(query).getAll("operation");
  const [text] = given;
  if (given.length > 1) return { ok: false, detail: "The parameter operation was given more than once." };
  if (text === undefined) {
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
  return { ok: true, operation: isPerOperation(method, reading.path) ? `${method} ${reading.path}` : null };
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
