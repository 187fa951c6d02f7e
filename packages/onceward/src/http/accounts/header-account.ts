// The account as a header says it, which a trusted hop in front sets.

import type { AccountReading } from "../layer.js";
import { type HeaderList, headerValues } from "../message.js";
import type { Presentation } from "./credential.js";
import { refused, unidentified } from "./refusal.js";

/** In characters; what is longer is no account's name. */
const MAX_LENGTH = 512;
const CREDENTIAL_NAME = /auth|key|token|secret|password|passwd|session|cookie|signature|bearer/i;

/** Whether a header of this name is likely to hold a credential, so that only a digest of it may be kept (SPEC §9.2). */
export function holdsCredential(name: string): boolean {
  return CREDENTIAL_NAME.test(name);
}

/** The header's value, to make a digest of, or what there is without it. `mend` is for a request that lacks it. */
export function presentedHeader(
  headers: HeaderList,
  name: string,
  anonymous: "reject" | "share",
  mend: string,
): Presentation {
  const field = name.toLowerCase();
  const values = headerValues(headers, field);
  const [value] = values;
  if (values.length > 1) return refused(`The ${name} header was sent more than once: send it once.`);
  if (value === undefined) return unidentified(anonymous, `The request carries no ${name} header`, mend);
  if (value === "") return refused(`The ${name} header is empty.`);
  return { kind: "presented", parts: [field, value] };
}

/** The account of a header whose value is kept as it is. */
export function namedByHeader(presented: readonly string[], name: string): AccountReading {
  const value = presented[1] ?? "";
  if (value.length > MAX_LENGTH) return refused(`The ${name} header is longer than ${MAX_LENGTH} characters.`);
  return { kind: "account", account: `header:${value}`, label: value };
}
