// The account resolver of the options, and what is made of its answer (SPEC S1).

import type { AccountReading } from "../layer.js";
import type { HeaderList } from "../message.js";
import { presentedAsIs } from "./changing-credentials.js";
import { refused } from "./refusal.js";

/**
 * Says who is calling: an account's name, unique and the same for every retry; null or undefined where it is not known,
 * which refuses the request. It is given the request's header fields too, whatever the framework keeps them in.
 *
 * A text is taken for the name as it is, so it must not be a credential (SPEC §9.2), nor anything that the caller can
 * make up (SPEC S2).
 */
export type AccountResolver<Req> = (
  request: Req,
  headers: HeaderList,
) => AccountReading | string | null | undefined | Promise<AccountReading | string | null | undefined>;

const UNKNOWN =
  "It cannot be told whose idempotency key this is: the request is of no account that is known here. Nothing was run.";

/**
 * Asks the resolver. Rejects with what it throws, and with a TypeError where its answer is none: then the framework's
 * own error handler answers, and nothing has run.
 */
export async function readAccount<Req>(
  resolve: AccountResolver<Req>,
  request: Req,
  headers: HeaderList,
): Promise<AccountReading> {
  const answer = await resolve(request, headers);
  if (answer === null || answer === undefined || answer === "") return refused(UNKNOWN);
  if (typeof answer === "string") {
    if (presentedAsIs(answer))
      throw new TypeError(
        "`account` answered a credential, which would be kept as it is: use `accountFromAuthorization` of onceward/accounts, which keeps a digest of it, or answer the name of who was authenticated.",
      );
    return { kind: "account", account: answer };
  }
  // It comes from a function of the user, whom no compiler may have checked.
  if (typeof answer !== "object" || (answer.kind !== "account" && answer.kind !== "refused"))
    throw new TypeError(`\`account\` answered a ${typeof answer}: it must answer a text, such as String(user.id).`);
  return answer;
}
