// Duplicates that wait for a running operation: one poller a key however many wait, bounded per key and in all.

import type { Clock } from "./clock.js";
import { isLapsed, type RecordId } from "./record.js";
import type { Found, Store } from "./store.js";
import type { StoreCalls } from "./store-calls.js";

/** What a waiter is woken with: what there is now, that it should try to claim, or that it waited in vain. */
export type Woken = Found | "try-again" | "gave-up";

interface Room {
  readonly id: RecordId;
  /** In the order of their arrival. */
  readonly waiters: Set<(woken: Woken) => void>;
  readonly unwatch: () => void;
  /** Somebody waits who may take an interrupted operation over. */
  takesOver: boolean;
  cancelPoll: () => void;
  pauseMs: number;
  looking: boolean;
}

export interface WaitingOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly calls: StoreCalls;
  readonly maxPerKey: number;
  readonly maxInAll: number;
}

const FIRST_PAUSE_MS = 20;
const LONGEST_PAUSE_MS = 500;

export class WaitingRooms {
  readonly #options: WaitingOptions;
  readonly #rooms = new Map<RecordId, Room>();
  #size = 0;

  constructor(options: WaitingOptions) {
    this.#options = options;
  }

  /** Waiters in all. */
  get size(): number {
    return this.#size;
  }

  /**
   * Waits until the record changed or the monotonic clock shows `untilMs`. Gives up at once where it is full.
   * `takesOver` says whether the waiter would run an operation that was interrupted.
   */
  wait(id: RecordId, untilMs: number, takesOver: boolean): Promise<Woken> {
    const { clock, maxPerKey, maxInAll } = this.#options;
    const leftMs = untilMs - clock.monotonic();
    const room = this.#rooms.get(id);
    if (leftMs <= 0 || this.#size >= maxInAll || (room?.waiters.size ?? 0) >= maxPerKey)
      return Promise.resolve("gave-up");
    return new Promise((resolve) => {
      const entered = room ?? this.#open(id);
      const { waiters } = entered;
      entered.takesOver ||= takesOver;
      const leave = (woken: Woken): void => {
        cancel();
        waiters.delete(leave);
        this.#size--;
        if (waiters.size === 0) this.#close(id);
        resolve(woken);
      };
      const cancel = clock.after(leftMs, () => leave("gave-up"));
      waiters.add(leave);
      this.#size++;
    });
  }

  /** Something of this node changed the record: look now. */
  changed(id: RecordId): void {
    const room = this.#rooms.get(id);
    if (room !== undefined) this.#lookNow(room);
  }

  #open(id: RecordId): Room {
    const unwatch = this.#options.store.waiting?.watch(id, () => this.changed(id)) ?? (() => {});
    const room: Room = {
      id,
      waiters: new Set(),
      unwatch,
      takesOver: false,
      cancelPoll: () => {},
      pauseMs: FIRST_PAUSE_MS,
      looking: false,
    };
    this.#rooms.set(id, room);
    this.#lookLater(room);
    return room;
  }

  #close(id: RecordId): void {
    const room = this.#rooms.get(id);
    room?.cancelPoll();
    room?.unwatch();
    this.#rooms.delete(id);
  }

  #lookNow(room: Room): void {
    if (room.looking) {
      // It changed while it was being read: look again right after.
      room.pauseMs = 0;
      return;
    }
    room.cancelPoll();
    void this.#look(room);
  }

  #lookLater(room: Room): void {
    room.cancelPoll = this.#options.clock.after(room.pauseMs, () => void this.#look(room));
    room.pauseMs = Math.min(Math.max(room.pauseMs, FIRST_PAUSE_MS / 2) * 2, LONGEST_PAUSE_MS);
  }

  async #look(room: Room): Promise<void> {
    const { calls, store } = this.#options;
    room.looking = true;
    // A store out of reach is no news: the waiters go on until their time is up.
    const found = await calls.run("find", "", room.id, () => store.find(room.id)).catch(() => "no-news" as const);
    room.looking = false;
    if (found !== "no-news") this.#wake(room, found);
    if (this.#rooms.get(room.id) === room) this.#lookLater(room);
  }

  #wake(room: Room, found: Found | null): void {
    const lapsed = found === null || isLapsed(found.record, found.now);
    const state = found?.record.state;
    if (found === null || (lapsed && (state === "running" || (state === "unknown" && room.takesOver)))) {
      // SPEC §4.13: free to be claimed or taken over, so one of them tries and the rest wait on.
      const [first] = room.waiters;
      room.pauseMs = FIRST_PAUSE_MS;
      first?.("try-again");
    } else if (found.record.state !== "running") {
      for (const leave of [...room.waiters]) leave(found);
    }
  }
}
