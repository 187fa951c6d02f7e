// Accounts made of credentials: a digest under the account key stands for what the caller presented.

import { type AccountReading, digestReading, type Presentation } from "onceward/http";
import type { Keyring } from "./keyring.js";

/** The account of what was presented, with its names under the other keys; a refusal as it is. */
export function digestAccount(
  keyring: Keyring,
  kind: string,
  presentation: Presentation,
): AccountReading | Promise<AccountReading> {
  if (presentation.kind !== "presented") return presentation;
  const keys = keyring.keys();
  return keys instanceof Promise
    ? keys.then((ready) => digestReading(ready, kind, presentation.parts))
    : digestReading(keys, kind, presentation.parts);
}
