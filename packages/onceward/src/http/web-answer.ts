// A web Response on its way through the layer: held until it is whole, or known to be of the kind that is not kept.

import type { Policy } from "../core/policy.js";
import type { Budget } from "./budget.js";
import type { ResponseHead } from "./layer.js";
import { mediaType } from "./media-type.js";
import type { HttpResponse } from "./message.js";

/** An answer that is passed on as it comes (SPEC §5.4). */
export interface OpenAnswer {
  readonly kind: "open";
  readonly head: ResponseHead;
  /** As the handler declared it. */
  readonly contentLength: string | null;
  /** What of the body is here already. */
  readonly begun: readonly Uint8Array[];
  readonly rest: ReadableStreamDefaultReader<Uint8Array>;
}

export type HeldAnswer =
  | { readonly kind: "whole"; readonly response: HttpResponse }
  | OpenAnswer
  /** The body broke off. */
  | { readonly kind: "broken"; readonly error: unknown };

/** What a piece takes beside its bytes: an answer may come in many small ones. */
const CHUNK_BYTES = 256;
/** So long an answer that nobody listens to any more is read on, since reading it may be what finishes the operation. */
const OUTLIVE_MS = 30_000;
/** Fetch standard, "null body status", as far as an answer can have them. */
const BODILESS: ReadonlySet<number> = new Set([204, 205, 304]);

/** Whether it is a Response of any copy of the class. */
export function isResponse(value: unknown): value is Response {
  const response = value as Partial<Response> | null | undefined;
  return typeof response?.status === "number" && typeof response.arrayBuffer === "function";
}

/** Reads an answer up to what is kept of one, within the memory there is. Never rejects. */
export async function holdAnswer(response: Response, policy: Policy, memory: Budget): Promise<HeldAnswer> {
  const head: ResponseHead = { status: response.status, headers: [...response.headers] };
  const body = response.body as ReadableStream<Uint8Array> | null;
  if (body === null) return { kind: "whole", response: { ...head, body: new Uint8Array(0) } };
  const contentLength = response.headers.get("content-length");
  const begun: Uint8Array[] = [];
  let bytes = 0;
  let takenBytes = 0;
  try {
    const rest = body.getReader();
    const open: OpenAnswer = { kind: "open", head, contentLength, begun, rest };
    if (Number(contentLength ?? 0) > policy.maxBodyBytes) return open;
    if (policy.streamingTypes.has(mediaType(response.headers.get("content-type")))) return open;
    for (;;) {
      const { done, value } = await rest.read();
      if (done) return { kind: "whole", response: { ...head, body: joined(begun, bytes) } };
      const chunk = bytesOf(value);
      begun.push(chunk);
      bytes += chunk.length;
      if (bytes > policy.maxBodyBytes || !memory.tryTake(chunk.length + CHUNK_BYTES)) return open;
      takenBytes += chunk.length + CHUNK_BYTES;
    }
  } catch (error) {
    return { kind: "broken", error };
  } finally {
    memory.give(takenBytes);
  }
}

/** The Response of an answer that is whole. */
export function wholeResponse({ status, headers, body }: HttpResponse): Response {
  const fields = headers as [string, string][];
  return new Response(BODILESS.has(status) ? null : (body as Uint8Array<ArrayBuffer>), { status, headers: fields });
}

/** How the passing on of an answer goes on beyond its Response. */
export interface Passing {
  /** Told at the end whether it was complete. */
  over(complete: boolean): void;
  /** Keeps the platform from stopping before the promise settles. */
  readonly waitUntil: ((work: Promise<unknown>) => void) | undefined;
}

/**
 * The Response of an answer that is passed on. Where its client goes away it is read on for a while, since the operation
 * is to finish (SPEC §4.7).
 */
export function openResponse(answer: OpenAnswer, head: ResponseHead, { over, waitUntil }: Passing): Response {
  const { begun, rest, contentLength } = answer;
  let gone = false;
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      for (const chunk of begun) controller.enqueue(chunk);
    },
    async pull(controller) {
      try {
        const { done, value } = await rest.read();
        if (gone) return;
        if (!done) controller.enqueue(bytesOf(value));
        else {
          over(true);
          controller.close();
        }
      } catch (error) {
        if (gone) return;
        over(false);
        controller.error(error);
      }
    },
    cancel() {
      gone = true;
      const outlived = readOn(rest).then(over);
      waitUntil?.(outlived);
    },
  });
  const length = contentLength === null ? [] : [["content-length", contentLength] as const];
  const fields = [...head.headers, ...length] as [string, string][];
  return new Response(body, { status: head.status, headers: fields });
}

/** Reads the rest for nobody, and says whether it came to its end. Never rejects. */
async function readOn(rest: ReadableStreamDefaultReader<Uint8Array>): Promise<boolean> {
  const timer = setTimeout(() => void rest.cancel("nobody listens any more").catch(() => {}), OUTLIVE_MS);
  try {
    while (!(await rest.read()).done);
    return true;
  } catch {
    return false;
  } finally {
    clearTimeout(timer);
  }
}

/** A stream of a user's may give texts, which servers refuse with less to go by. */
function bytesOf(value: unknown): Uint8Array {
  if (value instanceof Uint8Array) return value;
  throw new TypeError("The body of a Response gave something that is no Uint8Array.");
}

function joined(chunks: readonly Uint8Array[], bytes: number): Uint8Array {
  const [first] = chunks;
  if (chunks.length === 1 && first !== undefined) return first;
  const whole = new Uint8Array(bytes);
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.length;
  }
  return whole;
}
