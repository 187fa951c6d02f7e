// Replays: which header fields are recorded, and what the answer to a duplicate has that the first had not (SPEC §5).

import { connectionNamed, isHopByHop } from "./connection-headers.js";
import { type HeaderList, type HttpResponse, headerValue, withoutHeaders } from "./message.js";

export { connectionNamed, isHopByHop } from "./connection-headers.js";
export { decodeResponse, encodeResponse, type RecordedResponse } from "./recorded-response.js";

/** The part of a policy that says which fields of an answer are its own. */
export interface RecordingRules {
  readonly keepSetCookie: boolean;
  readonly keepDate: boolean;
}

/**
 * The fields that are recorded (SPEC §5.2, §5.7), in order. Left out: those of the connection and those that
 * `Connection` names; `Content-Length`, which {@link withContentLength} computes anew; `Onceward-*`, which is between
 * the operation and this layer; `Date` and `Set-Cookie` unless the rules keep them.
 */
export function recordableHeaders(headers: HeaderList, rules: RecordingRules): HeaderList {
  const named = connectionNamed(headers);
  return withoutHeaders(headers, (name) => {
    switch (name) {
      case "content-length":
        return true;
      case "date":
        return !rules.keepDate;
      case "set-cookie":
      case "set-cookie2":
        return !rules.keepSetCookie;
      default:
        return isHopByHop(name) || named.has(name) || isOwnHeader(name);
    }
  });
}

/** Whether a field, named in lower case, is one of `Onceward-*`, which never leaves this layer (SPEC §5.7). */
export function isOwnHeader(name: string): boolean {
  return name.startsWith("onceward-");
}

/**
 * The fields of a replay: the recorded ones and the marker, `false` for none (SPEC §5.3). A marker of the operation's
 * own is replaced. Where the answer is meant for other origins, their scripts are let see the marker.
 */
export function markReplayed(headers: HeaderList, marker: string | false): HeaderList {
  if (marker === false) return headers;
  const name = marker.toLowerCase();
  const marked = withoutHeaders(headers, (field) => field === name).concat([[marker, "true"]]);
  return headerValue(headers, "access-control-allow-origin") === undefined ? marked : exposed(marked, marker, name);
}

/** Fetch standard, "CORS protocol": what scripts of another origin may read. */
function exposed(headers: HeaderList, marker: string, name: string): HeaderList {
  let last = -1;
  let everything = false;
  for (const [index, [field, value]] of headers.entries()) {
    if (field.toLowerCase() !== "access-control-expose-headers") continue;
    last = index;
    for (const item of value.split(",")) {
      const listed = item.trim().toLowerCase();
      if (listed === name) return headers;
      if (listed === "*") everything = true;
    }
  }
  // For a request with credentials `*` is the name of a field, not all of them.
  if (everything && headerValue(headers, "access-control-allow-credentials")?.trim() !== "true") return headers;
  if (last < 0) return [...headers, ["Access-Control-Expose-Headers", marker]];
  return headers.map((header, index) => {
    if (index !== last) return header;
    const [field, value] = header;
    return [field, value.trim() === "" ? marker : `${value}, ${marker}`] as const;
  });
}

/**
 * The response with the `Content-Length` of its body, in place of any other framing. 1xx and 204 have none and no body
 * (RFC 9110 §8.6, §15.3.5). A 304 and an answer to HEAD have no body either, and theirs would speak of a body that is
 * not here. `method` is the request's.
 */
export function withContentLength(response: HttpResponse, method?: string): HttpResponse {
  const { status } = response;
  const headers = withoutHeaders(response.headers, (name) => name === "content-length" || name === "transfer-encoding");
  if (status === 204 || status === 304 || status < 200 || method === "HEAD") {
    return { status, headers, body: response.body.length === 0 ? response.body : new Uint8Array(0) };
  }
  return { status, headers: [...headers, ["Content-Length", String(response.body.length)]], body: response.body };
}
