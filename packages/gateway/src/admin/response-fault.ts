// Checks a response that an operator wrote by hand, before it becomes what every duplicate is answered with.

import { validateHeaderName, validateHeaderValue } from "node:http";
import { type HttpResponse, isHopByHop } from "onceward/http";

const MAX_HEADERS = 100;
const MAX_HEADER_BYTES = 16_384;
/** SPEC §5.4's default of what is recorded. */
const MAX_BODY_BYTES = 1_048_576;
const COMPUTED = new Set(["content-length", "transfer-encoding", "connection"]);

/** What is wrong with it as a sentence, or null. */
export function responseFault(response: HttpResponse): string | null {
  const { status, headers, body } = response;
  if (!Number.isInteger(status) || status < 200 || status > 599)
    return "The response's status must be a whole number from 200 to 599.";
  if (body.length > MAX_BODY_BYTES)
    return `The response's body has ${body.length} bytes; at most ${MAX_BODY_BYTES} are kept.`;
  if ((status === 204 || status === 205 || status === 304) && body.length > 0)
    return `A response with status ${status} has no body.`;
  if (headers.length > MAX_HEADERS)
    return `The response has ${headers.length} header fields; at most ${MAX_HEADERS} are kept.`;
  let headerBytes = 0;
  for (const [name, value] of headers) {
    headerBytes += name.length + value.length;
    try {
      validateHeaderName(name);
      validateHeaderValue(name, value);
    } catch {
      return `The response's header field ${JSON.stringify(name)} has a name or value that HTTP does not allow.`;
    }
    if (COMPUTED.has(name.toLowerCase()) || isHopByHop(name.toLowerCase())) {
      return `The response's header field ${JSON.stringify(name)} is set by the connection: leave it out.`;
    }
  }
  return headerBytes > MAX_HEADER_BYTES
    ? `The response's header has ${headerBytes} bytes; at most ${MAX_HEADER_BYTES} are kept.`
    : null;
}
