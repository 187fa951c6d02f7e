// Starts gateways for tests: on a free port, from a configuration as users write it, stopped when the test is over.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { onTestFinished } from "vitest";
import type { GatewayConfig } from "../../../src/config/config.js";
import { loadConfig } from "../../../src/config/load.js";
import { type RunningGateway, startGateway } from "../../../src/server/gateway.js";

/** A configuration file's content; what is left out is set for tests. */
export type ConfigFile = Readonly<Record<string, unknown>>;

export interface TestGateway {
  readonly running: RunningGateway;
  readonly port: number;
  readonly url: string;
  /** Lines of its log, parsed. */
  readonly logs: readonly Record<string, unknown>[];
  reload(file: ConfigFile, tight?: TightLimits): Promise<void>;
}

/** A folder that is removed when the test is over. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "onceward-test-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

function configOf(file: ConfigFile): GatewayConfig {
  const path = join(temporaryFolder(), "onceward.json");
  const defaults = {
    listen: "127.0.0.1:0",
    admin: false,
    store: "memory:",
    account: "single",
    log: { level: "debug" },
  };
  writeFileSync(path, JSON.stringify({ ...defaults, ...file }));
  return loadConfig({ file: path });
}

/** Bounds below what a configuration file may set. */
export type TightLimits = Partial<GatewayConfig["limits"]>;

export async function gateway(file: ConfigFile, tight: TightLimits = {}): Promise<TestGateway> {
  const complete = (settings: ConfigFile, limits: TightLimits): GatewayConfig => {
    const config = configOf(settings);
    return { ...config, limits: { ...config.limits, ...limits } };
  };
  const logs: Record<string, unknown>[] = [];
  const log = pino({ level: "debug" }, { write: (line: string) => void logs.push(JSON.parse(line)) });
  const running = await startGateway(complete(file, tight), { log });
  onTestFinished(() => running.stop());
  const { port } = running.address;
  return {
    running,
    port,
    url: `http://127.0.0.1:${port}`,
    logs,
    reload: (next, limits = {}) => running.reload(complete(next, limits)),
  };
}
