// The methods that a request can have at all, so that a slip in a rule does not leave what it means unprotected.

import { METHODS } from "node:http";
import { closest } from "onceward";

/** What is wrong with names of methods; null where a request can have each of them. */
export function methodsFault(names: Iterable<string>): string | null {
  for (const name of names) {
    if (METHODS.includes(name)) continue;
    const near = closest(name, METHODS);
    const fix = near === undefined ? "remove it" : `did you mean ${near}?`;
    return `${JSON.stringify(name)} is no method that the gateway takes, so no request ever has it; ${fix}`;
  }
  return null;
}
