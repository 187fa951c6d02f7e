// A fault in the configuration: where it stands, what it is and how to mend it.

import { IdempotencyError } from "onceward";

/** Where a value comes from: a file, a flag such as `--listen`, or an environment variable. */
export interface Place {
  readonly source: string;
  /** Counted from 1; null where the source has no lines. */
  readonly line: number | null;
  readonly column: number | null;
}

export interface ConfigIssue {
  readonly place: Place;
  /** What is wrong and how to mend it. Never a secret, nor a value that came from the environment. */
  readonly message: string;
}

/** Keys and indices from the root of the configuration, such as `["routes", 1, "lease"]`. */
export type Path = readonly (string | number)[];

/** A path as people write it: `routes[1].lease`. */
export function pathText(path: Path): string {
  let text = "";
  for (const part of path) {
    if (typeof part === "number") text += `[${part}]`;
    else text += text === "" ? part : `.${part}`;
  }
  return text;
}

/** Distinct for distinct paths; for maps and sets of them. */
export function pathId(path: Path): string {
  return JSON.stringify(path);
}

/** The source of what was given nowhere. */
export const NO_SOURCE = "configuration";

/** One line: `onceward.yaml:12:5  routes[1].lease is "3x", but it must be …`. */
function issueText(issue: ConfigIssue): string {
  const { source, line, column } = issue.place;
  if (line !== null) return `${source}:${line}:${column ?? 1}  ${issue.message}`;
  return source === NO_SOURCE ? issue.message : `${source}: ${issue.message}`;
}

/** All faults at once, in the order of the file, as `config_invalid`; `details.issues` holds them. */
export function configError(issues: readonly ConfigIssue[]): IdempotencyError {
  const sorted = [...issues].sort(
    (a, b) => (a.place.line ?? 0) - (b.place.line ?? 0) || (a.place.column ?? 0) - (b.place.column ?? 0),
  );
  // An alias has the same fault at the same place as what it stands for.
  const byLine = new Map(sorted.map((issue) => [issueText(issue), issue]));
  const message = [...byLine.keys()].join("\n");
  return new IdempotencyError("config_invalid", message, { details: { issues: [...byLine.values()] } });
}
