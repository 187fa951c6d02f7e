// The command line's entry: `main` is what bin/onceward.js calls.

/** Runs one command and resolves to its exit code: 0, 1 (failed) or 2 (usage) (SPEC §14.1). */
export async function main(_args: readonly string[]): Promise<number> {
  process.stderr.write("onceward: no command is implemented yet.\n");
  return 1;
}
