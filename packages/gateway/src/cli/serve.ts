// `onceward serve`: the gateway in front of an upstream, until a signal stops it.

import type { Command } from "commander";
import { isIdempotencyError } from "onceward";
import type { GatewayConfig } from "../config/config.js";
import { findConfigFile, loadConfig } from "../config/load.js";
import { createLogger } from "../log.js";
import { catchSignals, start } from "./listening.js";
import { addServeFlags, type ServeFlags } from "./settings.js";
import { warningsOf } from "./warnings.js";

export function addServe(program: Command): void {
  addServeFlags(program.command("serve").description("start the gateway"))
    .addHelpText(
      "after",
      `
A flag beats the environment (ONCEWARD_CONFIG, ONCEWARD_UPSTREAM, ONCEWARD_LISTEN, ONCEWARD_ADMIN, ONCEWARD_STORE,
ONCEWARD_PROFILE, ONCEWARD_NAMESPACE, ONCEWARD_ADMIN_TOKEN, ONCEWARD_LOG_LEVEL) beats the file.
A store on a server takes ONCEWARD_STORE_USER and ONCEWARD_STORE_PASSWORD where its address has none.
SIGTERM and SIGINT stop it gracefully, a second one at once; SIGHUP reads the configuration again.`,
    )
    .action(serve);
}

async function serve({ config: named, ...flags }: ServeFlags): Promise<void> {
  const { env } = process;
  const file = findConfigFile(named, env, process.cwd());
  const load = (): GatewayConfig => loadConfig({ file, flags, env, terminal: process.stdout.isTTY === true });
  const config = load();
  const log = createLogger(config.log);
  for (const warning of warningsOf(config)) log.warn(warning);
  const signals = catchSignals();
  const gateway = await start(config, { log });
  const reload = async (): Promise<void> => {
    try {
      await gateway.reload(load());
    } catch (error) {
      const reasons = isIdempotencyError(error) ? error.message.split("\n") : [String(error)];
      for (const reason of reasons) log.error(reason);
      log.error("the configuration was not reloaded; the one before stays");
    }
  };
  await signals.run(gateway, log, reload);
}
