// The fingerprint of a request whose body is read to the end, by the policy's rule (SPEC §5.5, §5.6).

import { createHash } from "node:crypto";
import { isIdempotencyError } from "../core/errors.js";
import type { FingerprintFunction } from "../core/policy.js";
import { type FingerprintDigest, type FingerprintRequest, fingerprintParsed, startFingerprint } from "./fingerprint.js";
import type { LayerRequest } from "./layer.js";
import { headerValue } from "./message.js";

/** Starts the fingerprint of a request, to be given its body as it comes; null where nothing is compared. */
export function startDigest(request: LayerRequest): FingerprintDigest | null {
  const { fingerprint } = request.policy;
  if (typeof fingerprint === "function") return new FunctionDigest(fingerprint, request);
  return startFingerprint(fingerprint, described(request));
}

/**
 * Reads the body whole and answers the request's fingerprint. Rejects with what reading it rejects with, having told
 * `brokenOff` where that is not a refusal.
 */
export async function readFingerprint(request: LayerRequest, brokenOff: () => void): Promise<string | null> {
  const digest = startDigest(request);
  let left: { readonly parsed: unknown } | undefined;
  try {
    left = await request.body(digest === null ? () => {} : (chunk) => digest.update(chunk));
  } catch (error) {
    if (!isIdempotencyError(error)) brokenOff();
    throw error;
  }
  const { fingerprint } = request.policy;
  if (left === undefined || digest === null || typeof fingerprint === "function") return digest?.digest() ?? null;
  return fingerprintParsed(described(request), left.parsed, typeof fingerprint === "string" ? undefined : fingerprint);
}

function described({ method, path, query, headers }: LayerRequest): FingerprintRequest {
  return { method, target: path + query, contentType: headerValue(headers, "content-type") };
}

/** Gathers the body for a function of the library's user, and hashes what it makes of it. */
class FunctionDigest implements FingerprintDigest {
  readonly #compute: FingerprintFunction;
  readonly #request: LayerRequest;
  readonly #chunks: Uint8Array[] = [];

  constructor(compute: FingerprintFunction, request: LayerRequest) {
    this.#compute = compute;
    this.#request = request;
  }

  update(chunk: Uint8Array): void {
    this.#chunks.push(chunk);
  }

  digest(): string {
    const { method, path, query } = this.#request;
    const body = new Uint8Array(this.#chunks.reduce((bytes, chunk) => bytes + chunk.length, 0));
    let at = 0;
    for (const chunk of this.#chunks) {
      body.set(chunk, at);
      at += chunk.length;
    }
    const computed = this.#compute({ method, target: path + query, body });
    return `c1:${createHash("sha256").update(computed).digest("hex")}`;
  }
}
