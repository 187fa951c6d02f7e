// Errors as the command line says them: one clear message and an exit code (SPEC §14.1).

import { CommanderError } from "commander";
import { type IdempotencyError, isIdempotencyError } from "onceward";
import type { ConfigIssue, Place } from "../config/issue.js";
import { note } from "./output.js";

/** Something that cannot be done as asked; the message says what and how to mend it. */
export class CommandFailure extends Error {
  override readonly name = "CommandFailure";
  readonly exitCode: 1 | 2;

  constructor(message: string, exitCode: 1 | 2 = 1) {
    super(message);
    this.exitCode = exitCode;
  }
}

/** A fault in how the command was called. */
export function usage(message: string): CommandFailure {
  return new CommandFailure(message, 2);
}

/** Says what went wrong on standard error and answers the exit code. */
export function report(error: unknown): number {
  // Commander has printed its own: help and version (0), or what is wrong with the command line.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  if (error instanceof CommandFailure) {
    note(prefixed(error.message));
    return error.exitCode;
  }
  if (isIdempotencyError(error)) {
    const places = placesOf(error);
    // A line that begins with its place in a file is left so, since editors find the place then.
    for (const [index, line] of error.message.split("\n").entries())
      note(places[index] === undefined || places[index].line === null ? prefixed(line) : line);
    return places.some(({ source }) => source.startsWith("--")) ? 2 : 1;
  }
  const detail = error instanceof Error ? (error.stack ?? error.message) : String(error);
  note(prefixed(`this should not have happened, please report it: ${detail}`));
  return 1;
}

/** Of each line of a configuration's faults; empty for other errors. */
function placesOf(error: IdempotencyError): readonly Place[] {
  const issues = error.details["issues"] as readonly Partial<ConfigIssue>[] | undefined;
  return (issues ?? []).flatMap(({ place }) => place ?? []);
}

function prefixed(message: string): string {
  return `onceward: ${message}`;
}
