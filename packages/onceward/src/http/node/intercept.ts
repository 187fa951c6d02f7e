// Takes what Node hands to a request's stream, which learns of nothing meanwhile.

import { Buffer } from "node:buffer";
import type { IncomingMessage } from "node:http";

/** The client went away before its operation had begun: nothing is claimed, and nobody is left to answer. */
export class UploadBrokenOff extends Error {
  override readonly name = "UploadBrokenOff";

  constructor() {
    super("The client went away before its request had begun.");
  }
}

interface Internals {
  readonly _readableState: { readonly ended: boolean; dataEmitted: boolean };
  _read(bytes: number): void;
}

/** Whether all of the body is in the stream. */
export function hasWhole(request: IncomingMessage): boolean {
  return internalsOf(request)._readableState.ended;
}

/** Takes out what the stream holds already. Nobody has seen it, whatever the stream would say of itself. */
export function takeOut(request: IncomingMessage): Uint8Array | null {
  if (request.readableLength === 0) return null;
  const encoding = request.readableEncoding ?? "utf8";
  const piece: unknown = request.read();
  internalsOf(request)._readableState.dataEmitted = false;
  return typeof piece === "string" ? Buffer.from(piece, encoding) : (piece as Uint8Array);
}

/** What becomes of a piece: it is taken, at once or when a promise says so; `false`: the stream has it, and what follows. */
export type Taking = Promise<void> | false | undefined;

/**
 * Gives what is `here` and what comes to `take`, and with it the stream's own `push`. Resolves at the end of the body, which
 * the stream has not been told of, or when it was left to the stream. Rejects with what `take` failed with, or with
 * {@link UploadBrokenOff}.
 */
export function intercept(
  request: IncomingMessage,
  here: Uint8Array | null,
  take: (piece: Uint8Array, push: (piece: Uint8Array) => boolean) => Taking,
): Promise<void> {
  const { push } = request;
  return new Promise((resolve, reject) => {
    let taking: Promise<void> | null = null;
    const settle = (error?: unknown): void => {
      request.push = push;
      request.off("close", onBroken).off("aborted", onBroken).off("error", onBroken);
      if (error === undefined) resolve();
      else reject(error);
    };
    const onBroken = (): void => settle(new UploadBrokenOff());
    const goOn = (taken: Promise<void>): void => {
      if (taking !== taken) return;
      taking = null;
      internalsOf(request)._read(0);
    };
    const onPiece = (piece: Uint8Array): boolean => {
      try {
        const taken = take(piece, (piece) => push.call(request, piece));
        if (taken === undefined) return true;
        if (taken === false) {
          settle();
          return true;
        }
        taking = taken;
        taken.then(() => goOn(taken), settle);
      } catch (error) {
        settle(error);
      }
      return false;
    };
    request.push = (chunk: unknown): boolean => {
      if (chunk !== null) return onPiece(chunk as Uint8Array);
      if (taking === null) settle();
      else taking.then(() => settle(), settle);
      return false;
    };
    request.on("close", onBroken).on("aborted", onBroken).on("error", onBroken);
    if (request.destroyed) onBroken();
    // Where nobody reads, HTTP/2 hands nothing over.
    else if (here === null || onPiece(here)) request.read(0);
  });
}

function internalsOf(request: IncomingMessage): Internals {
  return request as unknown as Internals;
}
