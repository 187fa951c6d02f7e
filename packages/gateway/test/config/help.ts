// What the tests of the configuration share.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isIdempotencyError } from "onceward";
import { onTestFinished } from "vitest";
import type { GatewayConfig } from "../../src/config/config.js";
import { type LoadOptions, loadConfig } from "../../src/config/load.js";

/** A folder that is gone after the test. */
export function folder(files: Readonly<Record<string, string>> = {}): string {
  const path = mkdtempSync(join(tmpdir(), "onceward-config-"));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  for (const [name, text] of Object.entries(files)) writeFileSync(join(path, name), text);
  return path;
}

/** Loads `onceward.yaml` with this text, in a folder of its own. */
export function load(
  text: string,
  options: LoadOptions = {},
  files: Readonly<Record<string, string>> = {},
): GatewayConfig {
  return loadConfig({ file: "onceward.yaml", cwd: folder({ "onceward.yaml": text, ...files }), ...options });
}

/** The lines that refuse it; fails where it is not refused. */
export function faults(act: () => unknown): string[] {
  try {
    act();
  } catch (error) {
    if (!isIdempotencyError(error, "config_invalid")) throw error;
    return error.message.split("\n");
  }
  throw new Error("It was accepted.");
}

export function faultsOf(
  text: string,
  options: LoadOptions = {},
  files: Readonly<Record<string, string>> = {},
): string[] {
  return faults(() => load(text, options, files));
}
