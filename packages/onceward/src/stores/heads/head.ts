// A record as one value: what a store keeps that has neither a clock of its own nor statements, only compare-and-set.

import type { Fence, StoredRecord } from "../../core/record.js";

/** A run of bytes that was too long to lie beside its record and lies in chunks (see chunks.ts). */
export interface Segment {
  /** The fence that the record had when the chunks were written; part of their names. */
  readonly fence: Fence;
  /** Of all its bytes together; part of the chunks' names, so that what is written again lands on itself. */
  readonly digest: string;
  readonly bytes: number;
  readonly chunks: number;
}

/** Bytes of a record: what lies in chunks, and after it what lies in the head. */
export interface Content {
  readonly spilled: readonly Segment[];
  readonly inline: Uint8Array;
}

/** Everything that is kept of a record under one key and changes in one compare-and-set. */
export interface Head {
  /** Its payload is null: that is in `content`. */
  readonly record: StoredRecord;
  /** The payload of a record that is done; of any other its step log, as core/step-log.ts encodes it. */
  readonly content: Content;
  /** Its place in listings; null where the store gives a place when it writes the record first. */
  readonly order: number | null;
}

export const NO_CONTENT: Content = { spilled: [], inline: new Uint8Array(0) };

/**
 * The time of an operation, where the nodes' clocks are all there is (SPEC §4.3). A node writes instants by its own clock
 * and judges leases and expiry by that clock less the largest skew. However the clocks of two nodes differ within it,
 * nobody then takes a lease for lapsed, or a record for expired, before its writer's clock would: on the judge's clock
 * both last up to twice the skew longer, and never less long.
 */
export interface Moment {
  /** What instants are written by. */
  readonly now: number;
  /** What leases and expiry are judged by, and what a store answers as its `now`. */
  readonly judgedAt: number;
}

export function momentAt(now: number, maxClockSkewMs: number): Moment {
  return { now, judgedAt: now - maxClockSkewMs };
}
