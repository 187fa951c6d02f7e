// What the compiler says of handlers behind the adapters that speak fetch; compiled, never run.

import { type Context, Hono } from "hono";
import { claimOf, idempotency as fetchIdempotency, type IdempotencyClaim } from "../../src/adapters/fetch.js";
import { idempotency as honoIdempotency } from "../../src/adapters/hono.js";
import { idempotency as nextIdempotency } from "../../src/adapters/next.js";
import {
  accountFromAuthorization,
  accountFromBasicUser,
  accountFromJwt,
  singleTenant,
} from "../../src/http/accounts.js";
import { wellKnown } from "../../src/http/well-known.js";
import { memoryStore } from "../../src/stores/memory.js";

const store = memoryStore();
const account = (): string => "alice";

/** Fails to compile where the value is not of exactly this type. */
function exactly<Expected>() {
  return <Actual>(_value: Actual & ([Expected, Actual] extends [Actual, Expected] ? unknown : never)): void => {};
}

// S1: whoever forgets the account is told by the compiler, in every adapter.
// @ts-expect-error `account` is missing
fetchIdempotency({ store });
// @ts-expect-error `account` is missing
honoIdempotency({ store });
// @ts-expect-error `account` is missing
nextIdempotency({ store });
// @ts-expect-error `store` is missing
fetchIdempotency({ account });
// @ts-expect-error an account is a text
fetchIdempotency({ store, account: () => 42 });
// @ts-expect-error there is no such option
fetchIdempotency({ store, account, retries: 3 });
// @ts-expect-error the library forwards nothing
fetchIdempotency({ store, account, forwardKey: false });

// Helpers serve every framework.
fetchIdempotency({ store, account: singleTenant });
honoIdempotency({ store, account: accountFromAuthorization({ secret: "0123456789abcdef" }) });
// @ts-expect-error credentials are digested under a secret
accountFromAuthorization({});
// @ts-expect-error a token that nobody verifies names nobody
accountFromJwt({ issuer: "https://login.example" });
// @ts-expect-error nor does a password
accountFromBasicUser({});

// fetch: the claim is the second argument, what the platform gives comes after it, in its own types.
const wrap = fetchIdempotency({ store, account: (request) => request.headers.get("x-account") });
wrap((request, claim) => {
  exactly<Request>()(request);
  exactly<IdempotencyClaim<Response>>()(claim);
  exactly<IdempotencyClaim<Response>>()(claimOf(request));
  return new Response(claim.key);
});
interface WorkerEnv {
  readonly DB: string;
}
const worker = wrap(async (_request, _claim, env: WorkerEnv, ctx: { waitUntil(work: Promise<unknown>): void }) => {
  exactly<string>()(env.DB);
  ctx.waitUntil(Promise.resolve());
  return new Response();
});
exactly<(request: Request, env: WorkerEnv, ctx: { waitUntil(work: Promise<unknown>): void }) => Promise<Response>>()(
  worker,
);
// @ts-expect-error a handler answers a Response
wrap(() => "text");

// Hono: `c.var.idempotency` is there behind the middleware, and not without it; the app's own variables stay.
interface AppEnv {
  Variables: { user: { id: string } };
}
const app = new Hono<AppEnv>();
app.post("/a", honoIdempotency<AppEnv>({ store, account: (c) => c.get("user").id }), (c) => {
  exactly<IdempotencyClaim<Response>>()(c.var.idempotency);
  exactly<IdempotencyClaim<Response>>()(c.get("idempotency"));
  exactly<string>()(c.var.user.id);
  return c.json({ key: c.var.idempotency.key });
});
new Hono().post("/b", honoIdempotency({ store, account }), async (c) => {
  const made = await c.var.idempotency.step("charge", ({ idempotencyKey }) => ({ id: idempotencyKey }));
  exactly<string>()(made.id);
  return c.json(made);
});
// @ts-expect-error without the middleware there is no claim
new Hono().post("/c", (c) => c.json({ key: c.var.idempotency.key }));
honoIdempotency({ store, account: (c: Context) => c.req.header("x-account") });

// Next.js: a route handler as Next types it, for its own subclass of Request and the context of the route.
class NextRequestLike extends Request {
  readonly nextUrl: URL = new URL(this.url);
}
type RouteHandler = (
  request: NextRequestLike,
  context: { readonly params: Promise<{ readonly id: string }> },
) => Promise<Response> | Response;
const route = nextIdempotency({ store, account });
const POST = route(async (request: NextRequestLike, { params }: { params: Promise<{ id: string }> }, claim) => {
  exactly<IdempotencyClaim<Response>>()(claim);
  return Response.json({ id: (await params).id, path: request.nextUrl.pathname });
});
export const exported: readonly RouteHandler[] = [
  POST,
  route(() => new Response()),
  route((request) => new Response(request.url)),
];
nextIdempotency<NextRequestLike>({ store, account: (request) => request.nextUrl.host });

// §7.1: what `transaction` gives is what a handler returns.
declare const database: Parameters<IdempotencyClaim<Response>["transaction"]>[0];
wrap((_request, claim) => claim.transaction(database, () => ({ status: 201, body: { id: 1 } })));

// §10: every middleware can be published.
wellKnown({ routes: { "POST /a": wrap, "/b": null }, keys: wrap });
wellKnown({ routes: { "POST /a": honoIdempotency({ store, account }) } });
