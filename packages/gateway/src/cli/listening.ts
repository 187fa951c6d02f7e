// Starts a gateway for a command and keeps it running until a signal ends it (SPEC §14.5).

import { isIdempotencyError } from "onceward";
import { addressText } from "../config/addresses.js";
import type { GatewayConfig } from "../config/config.js";
import type { Logger } from "../log.js";
import type { RunningGateway } from "../server/gateway.js";
import { CommandFailure } from "./faults.js";

/**
 * Starts it, with a fault of a listener in one line that names the address and the flag.
 *
 * @param flags What the command calls the flags of the two addresses.
 */
export async function start(
  config: GatewayConfig,
  deps: { readonly log: Logger },
  flags: { readonly listen: string; readonly admin: string } = { listen: "--listen", admin: "--admin" },
): Promise<RunningGateway> {
  // Only now: the commands that start nothing need not load a server.
  const { startGateway } = await import("../server/gateway.js");
  try {
    return await startGateway(config, deps);
  } catch (error) {
    throw listenFailure(error, [
      { flag: flags.listen, address: config.listen },
      ...(config.admin === null ? [] : [{ flag: flags.admin, address: config.admin }]),
    ]);
  }
}

interface ListenError extends NodeJS.ErrnoException {
  readonly port?: number;
  readonly address?: string;
  readonly hostname?: string;
}

/** What a listener's error means for whoever typed the command; other errors are left as they are. */
export function listenFailure(
  error: unknown,
  listeners: readonly { readonly flag: string; readonly address: { readonly host: string; readonly port: number } }[],
): unknown {
  // The admin interface says what is wrong in its own words, which do not know the flags of this command.
  const origin = isIdempotencyError(error) ? error.cause : error;
  const { code, syscall, port, address, hostname } = (origin ?? {}) as ListenError;
  if (syscall !== "listen" && syscall !== "getaddrinfo") return error;
  const at =
    listeners.find((listener) => listener.address.port === port && listener.address.host === address) ??
    listeners.find((listener) => listener.address.port === port || listener.address.host === hostname) ??
    listeners[0];
  if (at === undefined) return error;
  const where = `cannot listen on ${addressText(at.address)}`;
  const another = `choose another with ${at.flag} HOST:PORT`;
  if (code === "EADDRINUSE")
    return new CommandFailure(`${where}: the port is in use; stop what uses it, or ${another}`);
  if (code === "EACCES")
    return new CommandFailure(`${where}: this user may not (ports below 1024 are reserved); ${another}`);
  if (code === "EADDRNOTAVAIL") return new CommandFailure(`${where}: this machine has no such address; ${another}`);
  if (code === "ENOTFOUND" || code === "EAI_AGAIN")
    return new CommandFailure(`${where}: the host name is not known; ${another}`);
  return new CommandFailure(`${where}: ${code}; ${another}`);
}

/** One Ctrl-C under `npm start` comes twice: from the terminal, and passed on by npm. */
const SAME_PRESS_MS = 300;

export interface Signals {
  /**
   * Resolves when the gateway has stopped: at a signal, or at once where one came while it was starting. SIGHUP calls
   * `reload`.
   */
  run(gateway: Pick<RunningGateway, "stop">, log: Logger, reload?: () => Promise<void>): Promise<void>;
}

/**
 * From now on the first SIGTERM or SIGINT stops gracefully and a later one at once. To be called before anything
 * listens, so that there is no moment at which a signal would cut requests off.
 */
export function catchSignals(): Signals {
  let firstAt: number | null = null;
  let onFirst: (() => void) | null = null;
  const first = new Promise<void>((resolve) => {
    onFirst = resolve;
  });
  const receive = (): void => {
    if (firstAt === null) {
      firstAt = performance.now();
      onFirst?.();
    } else if (performance.now() - firstAt >= SAME_PRESS_MS) {
      // What was running is left to its leases.
      process.exit(1);
    }
  };
  process.on("SIGTERM", receive);
  process.on("SIGINT", receive);
  return {
    async run(gateway, log, reload) {
      // Without a handler SIGHUP would end the process.
      if (reload !== undefined) process.on("SIGHUP", () => void reload());
      await first;
      log.info("stopping; one more signal stops at once");
      await gateway.stop();
      log.info("stopped");
    },
  };
}
