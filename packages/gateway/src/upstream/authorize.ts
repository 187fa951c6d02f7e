// Asks the upstream whether a caller may still have a recorded answer (SPEC S6, `authorize: { url }`).

import {
  DOCUMENT_PATH,
  type HeaderList,
  type HttpResponse,
  isHopByHop,
  isOwnHeader,
  problem,
  problemResponse,
} from "onceward/http";
import type { Timeouts } from "../config/config.js";
import type { Upstreams } from "./upstreams.js";
import { getWhole, WholeFailure } from "./whole.js";

/** A refusal larger than this is not passed on. */
const MAX_REFUSAL_BYTES = 65_536;
const ABOUT_THE_BODY: ReadonlySet<string> = new Set([
  "content-length",
  "content-type",
  "content-encoding",
  "expect",
  "host",
]);

/** The request whose replay is asked about. */
export interface ReplayRequest {
  readonly method: string;
  readonly path: string;
  readonly query: string;
  /** As they go to the upstream: the client's own word on where it comes from is no ground to let it in. */
  readonly headers: HeaderList;
  readonly policy: { readonly errorFormat: "problem" | "stripe" };
}

/** null where the caller may have the replay; else what is sent instead: the upstream's refusal, or a problem. */
export async function authorizeReplay(
  upstreams: Upstreams,
  url: string,
  request: ReplayRequest,
  timeouts: Timeouts,
): Promise<HttpResponse | null> {
  const headers: string[] = [];
  for (const [field, value] of request.headers) {
    const name = field.toLowerCase();
    if (ABOUT_THE_BODY.has(name) || isHopByHop(name) || isOwnHeader(name)) continue;
    // With underscores they are the same fields to servers of the CGI kind.
    if (name.replaceAll("_", "-").startsWith("x-original-")) continue;
    headers.push(field, value);
  }
  headers.push("X-Original-Method", request.method, "X-Original-URI", request.path + request.query);
  try {
    const timeoutMs = timeouts.upstreamHeadersMs;
    const answer = await getWhole(upstreams, { url, headers, timeoutMs, maxBodyBytes: MAX_REFUSAL_BYTES });
    return answer.status >= 200 && answer.status < 300 ? null : answer;
  } catch (error) {
    const status = error instanceof WholeFailure && error.failure?.status === 504 ? 504 : 502;
    const detail = "Whether this caller may have the recorded answer could not be asked. Nothing was run; retry later.";
    return problemResponse(
      problem("upstream_unavailable", { status, detail }),
      request.policy.errorFormat,
      DOCUMENT_PATH,
    );
  }
}
