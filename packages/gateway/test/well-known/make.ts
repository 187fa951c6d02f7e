// A gateway's well-known addresses on a memory store, for their tests.
import { type PolicyOptions, resolvePolicy, type Store } from "onceward";
import { createLayer, type HeaderList, type HttpResponse, type Layer } from "onceward/http";
import { type Accounts, createAccounts } from "../../src/accounts/accounts.js";
import type { AccountConfig, Route } from "../../src/config/config.js";
import { createWellKnown, type WellKnown } from "../../src/well-known/well-known.js";

export const DOCUMENT = "/.well-known/idempotency";
export const CREDENTIAL: AccountConfig = {
  from: "credential",
  changingCredentials: "reject",
  anonymous: "reject",
  secret: null,
};

export function route(name: string, options: PolicyOptions | null, more: Partial<Route> = {}): Route {
  const [method = "", path = ""] = name.split(" ");
  return {
    name,
    methods: method === "" ? null : new Set([method]),
    matches: (candidate) => candidate === path,
    when: null,
    policy: options === null ? null : resolvePolicy(options, { surface: "gateway", hasRoutes: true }),
    upstream: "http://user:secret@upstream.internal:3000",
    authorizeUrl: "http://auth.internal/ask",
    ...more,
  };
}

export interface Setup {
  readonly wellKnown: WellKnown;
  readonly layer: Layer;
  readonly accounts: Accounts;
  readonly routes: readonly Route[];
}

/** `on` is what the layer works on, where that is not the store itself. */
export async function setupOn(
  store: Store,
  routes: readonly Route[],
  account: AccountConfig = CREDENTIAL,
  on: Store = store,
): Promise<Setup> {
  const accounts = await createAccounts(account, store, { longestRetentionMs: 86_400_000 });
  const layer = createLayer({ store: on, history: false });
  const findRoute = (method: string, path: string): Route | null =>
    routes.find((candidate) => candidate.methods?.has(method) !== false && candidate.matches(path)) ?? null;
  return {
    wellKnown: createWellKnown({ routes, namespace: "default", layer, accounts, findRoute }),
    layer,
    accounts,
    routes,
  };
}

export async function get(
  wellKnown: WellKnown,
  path: string,
  headers: HeaderList = [],
  more: { readonly query?: string; readonly environment?: string; readonly method?: string } = {},
): Promise<HttpResponse> {
  const answer = wellKnown({ method: "GET", query: "", environment: "", ...more, path, headers });
  if (answer === null) throw new Error(`not answered: ${path}`);
  return answer;
}

export const text = (response: HttpResponse): string => new TextDecoder().decode(response.body);
export const field = (response: HttpResponse, name: string): string | undefined =>
  response.headers.find(([known]) => known.toLowerCase() === name)?.[1];
