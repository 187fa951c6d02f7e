// The body of a web Request, read whole for its fingerprint and left readable for the handler (SPEC §5.5).

import { IdempotencyError } from "../core/errors.js";
import type { Budget } from "./budget.js";
import type { LayerRequest, Observation } from "./layer.js";

/** What an adapter's own way to read a body gives its bytes to, and asks for memory for them before. */
export type BodyReader = (
  sink: (chunk: Uint8Array) => void,
  take: (bytes: number) => void,
) => ReturnType<LayerRequest["body"]>;

/** The upload broke off: nothing is claimed, and nobody is left who would read an answer. */
export class UploadBroken extends Error {
  constructor(cause: unknown) {
    super("The request's body broke off.", { cause });
  }
}

/** A body that is read from a copy of the request, since the request itself belongs to the handler. */
export class WebBody {
  readonly #request: Request;
  readonly #maxBytes: number;
  readonly #memory: Budget;
  #takenBytes = 0;

  constructor(request: Request, maxBytes: number, memory: Budget) {
    this.#request = request;
    this.#maxBytes = maxBytes;
    this.#memory = memory;
  }

  /** Rejects with `request_too_large`, `upstream_unavailable` where there is no memory for it, or {@link UploadBroken}. */
  async read(sink: (chunk: Uint8Array) => void): Promise<undefined> {
    const request = this.#request;
    if (request.bodyUsed) throw bodyConsumed();
    if (request.body === null) return;
    if (Number(request.headers.get("content-length") ?? 0) > this.#maxBytes) throw bodyTooLarge(this.#maxBytes);
    const reader = bodyOf(request.clone()).getReader();
    let bytes = 0;
    try {
      for (;;) {
        const { done, value } = await reader.read().catch((cause: unknown) => Promise.reject(new UploadBroken(cause)));
        if (done) return;
        bytes += value.length;
        if (bytes > this.#maxBytes) throw bodyTooLarge(this.#maxBytes);
        this.take(value.length);
        sink(value);
      }
    } catch (error) {
      // Both copies must say so before the platform stops the upload; neither is waited for.
      reader.cancel(error).catch(() => {});
      request.body.cancel(error).catch(() => {});
      throw error;
    }
  }

  /** Takes memory for so many bytes; throws `upstream_unavailable` where there is none. */
  take(bytes: number): void {
    if (!this.#memory.tryTake(bytes)) throw noRoom();
    this.#takenBytes += bytes;
  }

  /** Frees what it took of the memory for bodies. */
  dispose(): void {
    this.#memory.give(this.#takenBytes);
    this.#takenBytes = 0;
  }
}

/**
 * Shows the body to whoever only watches, as far as he would have taken it, beside the handler. Resolves when it has
 * passed; never rejects.
 */
export async function observeBody(request: Request, maxBytes: number, observation: Observation): Promise<void> {
  if (request.bodyUsed) return;
  if (request.body === null) {
    observation.requestEnd();
    return;
  }
  const reader = bodyOf(request.clone()).getReader();
  try {
    for (let bytes = 0; bytes <= maxBytes; ) {
      const { done, value } = await reader.read();
      if (done) {
        observation.requestEnd();
        return;
      }
      bytes += value.length;
      observation.requestChunk(value);
    }
    await reader.cancel();
  } catch {
    // It broke off, which the handler learns by itself.
  }
}

function bodyOf(request: Request): ReadableStream<Uint8Array> {
  if (request.body === null) throw new TypeError("A copy of a request with a body has one.");
  return request.body as ReadableStream<Uint8Array>;
}

/** Somebody read the body before, and nothing is left of it. */
export function bodyConsumed(): TypeError {
  return new TypeError(
    "The request's body was read before idempotency() saw it, so it cannot be compared: put idempotency() before whatever reads it.",
  );
}

/** SPEC §5.5: 413. */
export function bodyTooLarge(maxBytes: number): IdempotencyError {
  return new IdempotencyError(
    "request_too_large",
    `The body of a request with an idempotency key may have up to ${maxBytes} bytes. Nothing was run.`,
  );
}

function noRoom(): IdempotencyError {
  return new IdempotencyError(
    "upstream_unavailable",
    "There is no room for this request's body now. Nothing was run; retry later, with the same key.",
  );
}
