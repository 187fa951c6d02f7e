// Errors as the command line says them: one clear message and an exit code (SPEC §14.1).

import { CommanderError } from "commander";
import { isIdempotencyError } from "onceward";
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
    // Each line of a configuration's faults says where it is, so that editors find the place.
    note(error.code === "config_invalid" ? error.message : prefixed(error.message));
    return 1;
  }
  const detail = error instanceof Error ? (error.stack ?? error.message) : String(error);
  note(prefixed(`this should not have happened, please report it: ${detail}`));
  return 1;
}

function prefixed(message: string): string {
  return `onceward: ${message}`;
}
