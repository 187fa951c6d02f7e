// What the gateway publishes of itself on its public address (SPEC §10).

import {
  DOCUMENT_PATH,
  type HttpResponse,
  KEYS_PATH,
  keyStatus,
  type Layer,
  policyDocument,
  representations,
} from "onceward/http";
import type { Accounts } from "../accounts/accounts.js";
import type { Route } from "../config/config.js";
import type { WellKnownRequest } from "./well-known-request.js";

/**
 * Answers GET and HEAD of `/.well-known/idempotency` and of the keys below it; null for every other request. These
 * paths shadow the upstream's. The answer to HEAD has the body of GET, which is not to be sent. Rejects only where the
 * layer fails in a way that is no matter of the store being out of reach.
 */
export type WellKnown = (request: WellKnownRequest) => Promise<HttpResponse> | null;

export interface WellKnownDeps {
  readonly routes: readonly Route[];
  readonly namespace: string;
  readonly layer: Pick<Layer, "keyState">;
  readonly accounts: Accounts;
  /** The route of a request, its condition included, as for any request. */
  readonly findRoute: (method: string, path: string, request: WellKnownRequest) => Route | null;
}

/** Prepares the answers for a configuration; after a reload it is called again. */
export function createWellKnown({ routes, namespace, layer, accounts, findRoute }: WellKnownDeps): WellKnown {
  const publish = representations(policyDocument(routes, "served"));
  const perOperation = routes.some(isPerOperation);
  return (request) => {
    if (request.method !== "GET" && request.method !== "HEAD") return null;
    const { path, headers, query, environment } = request;
    if (path === DOCUMENT_PATH) return Promise.resolve(publish(headers));
    if (!path.startsWith(KEYS_PATH)) return null;
    return keyStatus(
      { layer, perOperation, isPerOperation: (method, of) => isPerOperation(findRoute(method, of, request)) },
      {
        encodedKey: path.slice(KEYS_PATH.length),
        query,
        namespace,
        environment,
        account: () => accounts.resolve(headers),
      },
    );
  };
}

function isPerOperation(route: Route | null): boolean {
  return route?.policy?.scope === "account+operation";
}
