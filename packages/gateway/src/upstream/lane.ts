// Connections to one origin for one kind of request, reused last in, first out.

import type { EventEmitter } from "node:events";
import type { Socket } from "node:net";
import { type buildConnector, Client, type Dispatcher } from "undici";
import { type AnswerSink, type CallHost, UpstreamCall } from "./call.js";

export interface LaneOptions {
  readonly origin: string;
  /** For TLS; without it undici would take the name from the `Host` field, which is the client's word. */
  readonly serverName: string;
  readonly client: Client.Options;
  readonly connect: buildConnector.connector;
  /** A connection that was idle for longer is not used again. */
  readonly maxIdleMs: number;
  readonly maxHeaders: number;
  /** Told of faults of our own in handling an answer, which would end the process otherwise. */
  onFault(error: Error): void;
}

/** One connection; undici's Client opens it anew where it was closed. */
interface Slot {
  readonly client: Client;
  /** The connection under it, once there is one. */
  socket: Socket | null;
  /** On the monotonic clock; -1 while the connection has never been used. */
  idleSince: number;
}

/**
 * undici's Pool closes idle connections by timers, which run late on a busy loop. Here the age is looked at when a
 * connection is picked and again right before the first byte, since SPEC §4.9 promises more than "about a second".
 */
export class Lane implements CallHost {
  readonly #options: LaneOptions;
  readonly #idle: Slot[] = [];
  readonly #busy = new Map<UpstreamCall, Slot>();
  #closed = false;

  constructor(options: LaneOptions) {
    this.#options = options;
  }

  /** Requests under way. */
  get running(): number {
    return this.#busy.size;
  }

  /** Sends a request; the sink is told what becomes of it. */
  dispatch(options: Dispatcher.DispatchOptions, sink: AnswerSink): UpstreamCall {
    const { serverName, maxHeaders, client } = this.#options;
    // Not in undici's types.
    const named: Dispatcher.DispatchOptions & { servername: string } = { ...options, servername: serverName };
    const headersTimeoutMs = options.headersTimeout || client.headersTimeout || Number.POSITIVE_INFINITY;
    const call = new UpstreamCall(this, named, sink, { maxHeaders, headersTimeoutMs });
    this.#start(call, this.#take());
    return call;
  }

  again(call: UpstreamCall): void {
    void this.#busy.get(call)?.client.destroy();
    this.#start(call, this.#open());
  }

  isStale(call: UpstreamCall): boolean {
    const slot = this.#busy.get(call);
    return slot !== undefined && slot.idleSince >= 0 && performance.now() - slot.idleSince > this.#options.maxIdleMs;
  }

  wasReset(call: UpstreamCall): boolean {
    const error = this.#busy.get(call)?.socket?.errored;
    return error !== null && error !== undefined;
  }

  released(call: UpstreamCall, reusable: boolean): void {
    const slot = this.#busy.get(call);
    this.#busy.delete(call);
    if (slot === undefined) return;
    if (this.#closed || !reusable) {
      // Left alone, undici would open a new connection for the request that it has just given up. It is not done at
      // once, since undici is in the middle of telling of it.
      queueMicrotask(() => void slot.client.destroy());
      return;
    }
    slot.idleSince = performance.now();
    this.#idle.push(slot);
    this.#prune(slot.idleSince);
  }

  /** No new connection is reused; running requests finish. */
  close(): void {
    this.#closed = true;
    for (const slot of this.#idle.splice(0)) void slot.client.destroy();
  }

  /** Breaks running requests off. */
  async destroy(): Promise<void> {
    this.close();
    await Promise.all([...this.#busy.values()].map((slot) => slot.client.destroy()));
  }

  #start(call: UpstreamCall, slot: Slot): void {
    this.#busy.set(call, slot);
    slot.client.dispatch(call.options, call);
  }

  #take(): Slot {
    const slot = this.#idle.pop();
    if (slot === undefined) return this.#open();
    if (performance.now() - slot.idleSince <= this.#options.maxIdleMs && !slot.client.destroyed) return slot;
    // It was the youngest, so all others are too old as well.
    void slot.client.destroy();
    for (const older of this.#idle.splice(0)) void older.client.destroy();
    return this.#open();
  }

  #open(): Slot {
    const { origin, client, connect } = this.#options;
    const connector: buildConnector.connector = (options, callback) => {
      connect(options, (...result) => {
        slot.socket = result[1];
        slot.idleSince = -1;
        callback(...result);
      });
    };
    const slot: Slot = { client: new Client(origin, { ...client, connect: connector }), socket: null, idleSince: -1 };
    // Not among the events in undici's types; it is emitted where a handler throws.
    (slot.client as EventEmitter).on("error", (error: Error) => this.#options.onFault(error));
    return slot;
  }

  #prune(now: number): void {
    let old = 0;
    for (; old < this.#idle.length; old += 1) {
      const slot = this.#idle[old];
      if (slot === undefined || now - slot.idleSince <= this.#options.maxIdleMs) break;
      void slot.client.destroy();
    }
    if (old > 0) this.#idle.splice(0, old);
  }
}
