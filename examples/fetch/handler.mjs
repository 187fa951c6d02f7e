// A handler from Request to Response, for Bun, Deno, Workers and whatever else serves one.
import { accountFromAuthorization } from "onceward/accounts";
import { idempotency } from "onceward/fetch";

const transfers = [];

/** Makes the handler; which store suits depends on where it runs. */
export function createHandler(store, secret) {
  // Credentials are kept as digests under the secret; the same one on every node.
  const once = idempotency({ store, account: accountFromAuthorization({ secret }), required: true });
  const handler = once(async (request, claim) => {
    const { pathname } = new URL(request.url);
    if (pathname !== "/transfers") return Response.json({ error: "there is nothing here" }, { status: 404 });
    if (request.method === "GET") return Response.json(transfers);
    const { from, to, amount } = await request.json();
    if (!(amount > 0)) {
      // Nothing was done: the answer is not recorded, and the key stays unused.
      claim.notStarted();
      return Response.json({ error: "amount must be more than 0" }, { status: 422 });
    }
    const transfer = { id: transfers.length + 1, from, to, amount };
    transfers.push(transfer);
    return Response.json(transfer, { status: 201 });
  });
  return { handler, close: once.close };
}
