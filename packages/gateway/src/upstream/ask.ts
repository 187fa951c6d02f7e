// Asks the upstream what became of an interrupted operation (SPEC §4.6, `onInterrupted: { ask }`).

import type { Interrupted, RecoverFunction, RecoverVerdict } from "onceward";
import { headerValue } from "onceward/http";
import type { Upstreams } from "./upstreams.js";
import { getWhole } from "./whole.js";

export interface AskOptions {
  readonly upstreams: Upstreams;
  readonly timeoutMs: number;
  /** A larger answer is none. */
  readonly maxBodyBytes: number;
  /** Told of every failure, which counts as "still unknown". */
  onFailure(error: unknown): void;
}

/** What is wrong with a template, or null: what a client sends must not choose the host that is asked. */
export function askFault(template: string): string | null {
  if (/^https?:\/\/[^/?#{}@]+([/?#]|$)/i.test(template)) return null;
  return "onInterrupted.ask names its host with a placeholder or with a user: write the host out, and use {key}, {account} and {operation} behind it";
}

const UNKNOWN: RecoverVerdict = { outcome: "unknown" };

/**
 * Makes the function that gets a URL: `{key}`, `{account}` and `{operation}` are put into the template, percent-encoded.
 *
 * The answer's header `Onceward-Outcome: final` says that it is the operation's answer, `not-started` that the operation
 * never happened. Anything else, an error included, means that it is still unknown.
 */
export function createAsk(template: string, options: AskOptions): RecoverFunction {
  return async (interrupted) => {
    try {
      const url = fill(template, interrupted);
      if (url === null) return UNKNOWN;
      const { upstreams, timeoutMs, maxBodyBytes } = options;
      const response = await getWhole(upstreams, { url, headers: [], timeoutMs, maxBodyBytes });
      switch (headerValue(response.headers, "onceward-outcome")?.trim().toLowerCase()) {
        case "final":
          return { outcome: "done", response };
        case "not-started":
          return { outcome: "never-happened" };
        default:
          return UNKNOWN;
      }
    } catch (error) {
      options.onFailure(error);
      return UNKNOWN;
    }
  };
}

/**
 * null where a value would change what the address means: a key of dots is a step up in a path.
 *
 * @throws URIError where a value is no Unicode.
 */
function fill(template: string, { key, account, operation }: Interrupted): string | null {
  const values: Readonly<Record<string, string>> = { key, account, operation };
  let safe = true;
  const url = template.replaceAll(/\{(key|account|operation)\}/g, (_, name: string) => {
    const value = values[name] ?? "";
    safe &&= value !== "." && value !== "..";
    return safe ? encodeURIComponent(value) : "";
  });
  return safe ? url : null;
}
