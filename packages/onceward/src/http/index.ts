// The public entry of the HTTP layer: what adapters, the gateway and tools build on.
export { connectionNamed, isHopByHop } from "./connection-headers.js";
export { MAX_CANONICAL_BYTES } from "./fingerprint.js";
export { createLayer } from "./handle.js";
export * from "./layer.js";
export * from "./message.js";
export { normalisePath, type PathReading } from "./path.js";
export {
  accountProblem,
  type ErrorFormat,
  isRequestErrorCode,
  type Problem,
  problem,
  problemResponse,
} from "./problem.js";
export {
  decodeResponse,
  encodeResponse,
  isOwnHeader,
  type RecordedResponse,
  recordableHeaders,
  withContentLength,
} from "./replay.js";
export { compileRoutePattern, parseRouteMatch, type RouteMatch } from "./route-pattern.js";
export { hashedKey, type RecordIdParts, recordId } from "./scope.js";
