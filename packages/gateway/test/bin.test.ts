import { execFile } from "node:child_process";
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";

const run = promisify(execFile);

test("the launcher without a build says how to build, and fails", async () => {
  const folder = mkdtempSync(join(tmpdir(), "onceward-bin-"));
  try {
    cpSync(fileURLToPath(new URL("../package.json", import.meta.url)), join(folder, "package.json"));
    cpSync(fileURLToPath(new URL("../bin", import.meta.url)), join(folder, "bin"), { recursive: true });
    const result = await run(process.execPath, [join(folder, "bin/onceward.js")]).catch((error: unknown) => error);
    expect(result).toMatchObject({ code: 1, stderr: expect.stringContaining("npm run build") });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
