// Where a test's server comes from: a URL variable, a program on the PATH, or nowhere, said in one line.

import { accessSync, constants, existsSync, readdirSync } from "node:fs";
import { delimiter, join } from "node:path";

/** What a service is found by. */
export interface ServiceNeeds {
  /** Such as `PostgreSQL`. */
  readonly name: string;
  /** The variable that names a running server, such as `ONCEWARD_TEST_POSTGRES_URL`. */
  readonly variable: string;
  /** Programs that a private server needs, all of them. */
  readonly programs: readonly string[];
  /** How to get them, such as `apt-get install postgresql`. */
  readonly install: string;
}

/** A server that runs already, one that can be started, or neither. */
export type ServiceSource =
  | { readonly kind: "url"; readonly url: string }
  | { readonly kind: "programs"; readonly paths: Readonly<Record<string, string>> }
  | { readonly kind: "missing"; readonly reason: string };

/**
 * Finds a service. Where it is missing the reason is one line that says how to get it; under CI that is an error, so
 * that no suite is skipped there unseen.
 */
export function lookUp(needs: ServiceNeeds, env: NodeJS.ProcessEnv = process.env): ServiceSource {
  const url = env[needs.variable];
  if (url !== undefined && url !== "") return { kind: "url", url };
  const paths: Record<string, string> = {};
  for (const program of needs.programs) {
    const path = programPath(program, env);
    if (path !== null) paths[program] = path;
  }
  const missing = needs.programs.filter((program) => !(program in paths));
  if (missing.length === 0) return { kind: "programs", paths };
  const reason = `${needs.name} is not tested: ${missing.join(", ")} not found. ${needs.install}, or set ${needs.variable}.`;
  if (env["CI"] !== undefined && env["CI"] !== "") throw new Error(reason);
  return { kind: "missing", reason };
}

/** Debian keeps PostgreSQL's programs off the PATH. */
const POSTGRES_FOLDERS = "/usr/lib/postgresql";

function programPath(program: string, env: NodeJS.ProcessEnv): string | null {
  const versions = existsSync(POSTGRES_FOLDERS) ? readdirSync(POSTGRES_FOLDERS).sort().reverse() : [];
  const folders = [
    ...versions.map((version) => join(POSTGRES_FOLDERS, version, "bin")),
    ...(env["PATH"] ?? "").split(delimiter),
    "/usr/sbin",
    "/usr/local/sbin",
  ];
  for (const folder of folders) {
    const path = join(folder, program);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // Not there.
    }
  }
  return null;
}
