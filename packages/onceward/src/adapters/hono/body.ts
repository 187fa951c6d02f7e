// The body of a request of Hono's, for its fingerprint: from the request, or from what Hono keeps of it.

import type { HonoRequest } from "hono";
import { type BodyReader, bodyConsumed, bodyTooLarge, UploadBroken } from "../../http/web-body.js";
import { formValue } from "../../http/web-form.js";

/**
 * How the body is read, or null: from a copy of the request. `ofKnownLength` asks for more than that where the length
 * is told; where it is not, or is over the bound, the body is better read piece by piece.
 */
export function bodyReader(req: HonoRequest, maxBytes: number, ofKnownLength: boolean): BodyReader | null {
  if (req.raw.bodyUsed) return keptBody(req, maxBytes);
  const bytes = Number(req.header("content-length") ?? Number.NaN);
  return ofKnownLength && bytes > 0 && bytes <= maxBytes ? wholeBody(req, bytes) : null;
}

/** A middleware before this one has read it: Hono keeps what it made of it. */
function keptBody(req: HonoRequest, maxBytes: number): BodyReader {
  return async (sink) => {
    const kept = Object.keys(req.bodyCache);
    if (kept.length === 0) throw bodyConsumed();
    // Written out again, a form has another boundary each time.
    if (kept.includes("formData") && !kept.includes("arrayBuffer"))
      return { parsed: await formValue(await req.formData()) };
    const bytes = new Uint8Array(await req.arrayBuffer());
    if (bytes.length > maxBytes) throw bodyTooLarge(maxBytes);
    sink(bytes);
    return;
  };
}

/**
 * Read in Hono's own way, with a request of the same body put in the place of the one that is read, as Hono's
 * `bodyLimit` does. On Node this costs a quarter of what a copy of the request does.
 */
function wholeBody(req: HonoRequest, bytes: number): BodyReader {
  return async (sink, take) => {
    take(bytes);
    const { raw } = req;
    const body = await req.arrayBuffer().catch((cause: unknown) => Promise.reject(new UploadBroken(cause)));
    const again = new Request(raw.url, { method: raw.method, headers: raw.headers, body });
    // A signal that follows another is costly, and few look at it.
    Object.defineProperty(again, "signal", { get: () => raw.signal });
    req.raw = again;
    sink(new Uint8Array(body));
    return;
  };
}
