// A gateway: store, layer, upstreams and listeners put together; started, reloaded and stopped as one (SPEC §14).

import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { Budget, Housekeeping, type Layer } from "onceward/http";
import { type AdminServer, startAdmin } from "../admin/admin-server.js";
import { addressText } from "../config/addresses.js";
import type { Address, GatewayConfig } from "../config/config.js";
import { markSealing } from "../config/seal-mark.js";
import type { Logger } from "../log.js";
import { createMetrics } from "../metrics.js";
import { type OpenedStore, openStore } from "../stores/open-store.js";
import type { Upstreams } from "../upstream/upstreams.js";
import { createGatewayLayer, createGeneration, layerSettings } from "./generation.js";
import { Listener } from "./listener.js";
import type { Generation, Runtime } from "./runtime.js";

export interface GatewayDeps {
  readonly log: Logger;
}

export interface RunningGateway {
  /** Where it listens, with the port that it got. */
  readonly address: Address;
  /** null: there is no admin listener. */
  readonly adminAddress: Address | null;
  /**
   * Serves new requests by another configuration; running ones keep theirs, and no connection is dropped. What needs a
   * restart is logged and left as it is. Rejects where the new configuration cannot be served, and the old one stays.
   */
  reload(config: GatewayConfig): Promise<void>;
  /** Stops gracefully (SPEC §14.5). The second call answers the first one's promise. */
  stop(): Promise<void>;
}

/**
 * Starts a gateway. Nothing is left open where it cannot.
 *
 * @throws IdempotencyError for what is wrong with the store, an account key or the admin address; errors of the system
 *   for the listener (`syscall: "listen"`) and for TLS files.
 */
export async function startGateway(config: GatewayConfig, deps: GatewayDeps): Promise<RunningGateway> {
  const opened = await openStore(config.store, { ...config, onWarning: (warning) => deps.log.warn(warning) });
  try {
    for (const warning of await markSealing(opened.store, config)) deps.log.warn(warning);
    return await Gateway.start(config, opened, deps.log);
  } catch (error) {
    await opened.close().catch(() => undefined);
    throw error;
  }
}

/** How long answers that could not be recorded yet are waited for when time is up. */
const LAST_DRAIN_MS = 1_000;
/** How often records are looked at for what other gateways left interrupted, in milliseconds. */
const SWEEP_MS = 3_600_000;

class Gateway implements RunningGateway {
  readonly #opened: OpenedStore;
  readonly #runtime: Runtime;
  readonly #listener: Listener;
  readonly #admin: AdminServer | null;
  readonly #housekeeping: Housekeeping;
  readonly #started: GatewayConfig;
  readonly #via: string;
  readonly #layers: Layer[];
  /** Of this configuration and of those before it, whose requests may still run. */
  readonly #upstreams: Upstreams[];
  #stopping: Promise<void> | null = null;
  #reloading: Promise<void> = Promise.resolve();

  static async start(config: GatewayConfig, opened: OpenedStore, log: Logger): Promise<Gateway> {
    const { store } = opened;
    const metrics = createMetrics({ version: version() });
    // The layer tells the runtime of its work and the runtime holds the layer; neither works before both are there.
    const holder: { runtime: Runtime | null } = { runtime: null };
    const layer = createGatewayLayer(config, { store, metrics, log, runtime: () => held(holder) });
    const via = `onceward-${randomBytes(4).toString("hex")}`;
    const current = await createGeneration(config, { store, via, layer, log });
    const runtime: Runtime = {
      current,
      log,
      metrics,
      runs: new Map(),
      memory: new Budget(config.limits.maxBufferBytes),
      disk: new Budget(config.limits.maxSpoolBytes),
      exchanges: new Set(),
      keyed: 0,
      onIdle: null,
      stopping: false,
    };
    holder.runtime = runtime;
    const listener = new Listener(runtime, config);
    metrics.watch({
      bufferBytes: () => runtime.memory.usedBytes,
      spoolBytes: () => runtime.disk.usedBytes,
      connections: () => listener.connections,
      droppedRuns: () => runtime.current.layer.droppedRuns,
    });
    await listener.listen(config.listen);
    let admin: AdminServer | null = null;
    try {
      const deps = { store, metrics, log, stopping: () => runtime.stopping, version: version() };
      if (config.admin !== null) admin = await startAdmin({ admin: config.admin, adminToken: config.adminToken }, deps);
    } catch (error) {
      listener.destroy();
      await listener.close();
      throw error;
    }
    return new Gateway({ opened, runtime, listener, admin, via, config, layer });
  }

  private constructor(parts: {
    readonly opened: OpenedStore;
    readonly runtime: Runtime;
    readonly listener: Listener;
    readonly admin: AdminServer | null;
    readonly via: string;
    readonly config: GatewayConfig;
    readonly layer: Layer;
  }) {
    const { opened, runtime } = parts;
    const { store } = opened;
    this.#opened = opened;
    this.#runtime = runtime;
    this.#listener = parts.listener;
    this.#admin = parts.admin;
    this.#via = parts.via;
    this.#started = parts.config;
    this.#layers = [parts.layer];
    this.#upstreams = [runtime.current.upstreams];
    const { metrics, log } = runtime;
    this.#housekeeping = new Housekeeping({
      store,
      settings() {
        const { timeouts, limits, routes } = runtime.current.config;
        const firstSweepMs = Math.max(0, ...routes.map(({ policy }) => policy?.leaseMs ?? 0));
        return { purgeEveryMs: timeouts.purgeMs, sweepEveryMs: SWEEP_MS, firstSweepMs, keepRuns: limits.maxRuns };
      },
      sweep: (signal) => runtime.current.layer.sweep(signal),
      onPurged: (records) => metrics.purged(records),
      onTrimmed: (runs) => metrics.trimmed(runs),
      onFailure: (err) => log.warn({ err }, "the store could not be tidied up; it is tried again"),
    });
    const admin = parts.admin === null ? null : addressText(parts.admin.address);
    const listen = addressText(parts.listener.address);
    log.info({ listen, admin, store: store.info.name, upstream: parts.config.upstream }, "listening");
  }

  get address(): Address {
    return this.#listener.address;
  }

  get adminAddress(): Address | null {
    return this.#admin?.address ?? null;
  }

  reload(config: GatewayConfig): Promise<void> {
    // One at a time, in the order they were asked for.
    const reloaded = this.#reloading.then(() => this.#reload(config));
    this.#reloading = reloaded.catch(() => undefined);
    return reloaded;
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #reload(config: GatewayConfig): Promise<void> {
    if (this.#stopping !== null) return;
    const runtime = this.#runtime;
    const old = runtime.current;
    const next = await this.#nextGeneration(config, old);
    if (config.tls !== null) this.#listener.renewCertificate(config.tls);
    this.#listener.configure(config);
    runtime.memory.limitBytes = config.limits.maxBufferBytes;
    runtime.disk.limitBytes = config.limits.maxSpoolBytes;
    runtime.current = next;
    old.upstreams.close();
    const running = this.#upstreams.filter((upstreams) => upstreams.running > 0);
    this.#upstreams.splice(0, Number.POSITIVE_INFINITY, ...running, next.upstreams);
    for (const name of needRestart(this.#started, config)) {
      runtime.log.warn({ setting: name }, `${name} has changed: it takes effect after a restart`);
    }
    runtime.log.info({ routes: config.routes.length }, "the configuration was reloaded");
  }

  async #nextGeneration(config: GatewayConfig, old: Generation): Promise<Generation> {
    const { store } = this.#opened;
    const same = JSON.stringify(layerSettings(config)) === JSON.stringify(layerSettings(old.config));
    const { metrics, log } = this.#runtime;
    const layer = same ? old.layer : createGatewayLayer(config, { store, metrics, log, runtime: () => this.#runtime });
    const next = await createGeneration(config, { store, via: this.#via, layer, log });
    if (!same) this.#layers.push(layer);
    return next;
  }

  async #stop(): Promise<void> {
    const runtime = this.#runtime;
    const { timeouts } = runtime.current.config;
    const startedAt = performance.now();
    const leftMs = (): number => Math.max(0, timeouts.shutdownMs - (performance.now() - startedAt));
    runtime.stopping = true;
    const closed = this.#listener.close();
    await this.#finished(leftMs());
    const left = runtime.exchanges.size;
    if (left > 0) runtime.log.warn({ left }, "time is up: what still runs is left to its leases");
    await this.#housekeeping.stop();
    await Promise.all(this.#layers.map((layer) => layer.drain(Math.max(leftMs(), LAST_DRAIN_MS))));
    // Answers that are still on their way to slow clients have the rest of the time.
    const timer = setTimeout(() => this.#listener.destroy(), leftMs());
    await closed;
    clearTimeout(timer);
    await this.#admin?.close();
    await this.#opened.close();
    await Promise.all(this.#upstreams.map((upstreams) => upstreams.destroy()));
  }

  /** Resolves when no request is under way, or after `timeoutMs`. */
  #finished(timeoutMs: number): Promise<void> {
    const runtime = this.#runtime;
    if (runtime.exchanges.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, timeoutMs);
      runtime.onIdle = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

function held(holder: { readonly runtime: Runtime | null }): Runtime {
  if (holder.runtime === null) throw new Error("the gateway is not started yet");
  return holder.runtime;
}

/** Settings that are fixed at start, where they differ. */
function needRestart(started: GatewayConfig, now: GatewayConfig): string[] {
  const fixed = (config: GatewayConfig): Readonly<Record<string, unknown>> => ({
    listen: config.listen,
    tls: config.tls !== null,
    admin: config.admin,
    adminToken: config.adminToken,
    store: config.store,
    encryption: config.encryption.map(({ id, key }) => [id, Buffer.from(key).toString("base64")]),
    acceptUnsealed: config.acceptUnsealed,
    log: config.log,
    "limits.maxHeaderBytes": config.limits.maxHeaderBytes,
    "limits.maxRecordsPerAccount": config.limits.maxRecordsPerAccount,
    "limits.maxRecords": config.limits.maxRecords,
  });
  const before = fixed(started);
  return Object.entries(fixed(now))
    .filter(([name, value]) => JSON.stringify(value) !== JSON.stringify(before[name]))
    .map(([name]) => name);
}

function version(): string {
  const text = readFileSync(new URL("../../package.json", import.meta.url), "utf8");
  return (JSON.parse(text) as { version: string }).version;
}
