import { spawnSync } from "node:child_process";

const PACKAGES = { curl: "curl", openssl: "openssl", bash: "bash" } as const;
const known = new Map<string, boolean>();

/**
 * Whether a tool that some tests use is missing on this machine, so that they are skipped. Node and npm are all that a
 * clone needs; where `CI` is set, a missing tool is a fault of the set-up instead.
 */
export function missing(tool: keyof typeof PACKAGES): boolean {
  let absent = known.get(tool);
  if (absent === undefined) {
    absent = spawnSync(tool, ["--version"], { stdio: "ignore" }).error !== undefined;
    known.set(tool, absent);
    const advice = `${tool} is not on the PATH (Debian: apt-get install ${PACKAGES[tool]})`;
    if (absent && process.env["CI"] !== undefined) throw new Error(advice);
    if (absent) console.warn(`skipping tests: ${advice}`);
  }
  return absent;
}
