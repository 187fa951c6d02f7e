// Where in the stream something may have expired: what a purge remembers, so that it need not read everything each time.

import type { Zone } from "./bucket.js";

interface KnownZone extends Zone {
  /** The earliest instant at which a record of it may be expired. */
  readonly freeAt: number;
}

/** Records that share a zone, at most. */
const ZONE_RECORDS = 1_000;

/**
 * A record is only ever written again at the end of the stream, so that a zone, once read, can lose records but gets no
 * new ones: nothing in it expires before the first that was there. Ten million records are ten thousand zones.
 */
export class ExpiryZones {
  #zones: KnownZone[] = [];
  #readTo = 0;

  /** What is to be read: zones with something due, neighbours together, and at last what was written since. */
  due(now: number): readonly Zone[] {
    const due: Zone[] = [];
    let from: number | null = null;
    let to = 0;
    const written = { from: this.#readTo + 1, to: Number.POSITIVE_INFINITY, freeAt: 0 };
    for (const zone of [...this.#zones, written]) {
      if (zone.freeAt <= now) from ??= zone.from;
      else if (from !== null) {
        due.push({ from, to });
        from = null;
      }
      to = zone.to;
    }
    return [...due, { from: from ?? written.from, to }];
  }

  /** Begins to replace what is known of `zone`, from its beginning; what is not read of it stays as it was. */
  reading(zone: Zone): ZoneReading {
    return new ZoneReading(zone.from, (read, readTo) => this.#replace(zone, read, readTo));
  }

  #replace(zone: Zone, read: readonly KnownZone[], readTo: number): void {
    const before = this.#zones.filter(({ to }) => to < zone.from);
    const after = this.#zones.filter(({ to }) => to > readTo);
    const cut = after.map((known) => (known.from <= readTo ? { ...known, from: readTo + 1 } : known));
    this.#zones = [...before, ...read, ...cut];
    this.#readTo = Math.max(this.#readTo, readTo);
  }
}

/** What a purge meets in one zone, in the order of revisions. */
export class ZoneReading {
  readonly #read: KnownZone[] = [];
  readonly #keep: (read: readonly KnownZone[], readTo: number) => void;
  #from: number;
  #readTo: number;
  #records = 0;
  #freeAt = Number.POSITIVE_INFINITY;

  constructor(from: number, keep: (read: readonly KnownZone[], readTo: number) => void) {
    this.#from = from;
    this.#readTo = from - 1;
    this.#keep = keep;
  }

  /** A record that stays, and from when on it may be expired. */
  stays(revision: number, freeAt: number): void {
    this.#records += 1;
    this.#freeAt = Math.min(this.#freeAt, freeAt);
    this.#readTo = revision;
    if (this.#records === ZONE_RECORDS) this.#cut();
  }

  /** A record that was deleted. */
  goes(revision: number): void {
    this.#readTo = revision;
  }

  /** Keeps what was read; `to` is the zone's end where nothing of it is left to read. */
  end(to = 0): void {
    this.#cut();
    this.#keep(this.#read, to < Number.POSITIVE_INFINITY ? Math.max(this.#readTo, to) : this.#readTo);
  }

  #cut(): void {
    if (this.#records > 0) this.#read.push({ from: this.#from, to: this.#readTo, freeAt: this.#freeAt });
    this.#from = this.#readTo + 1;
    this.#records = 0;
    this.#freeAt = Number.POSITIVE_INFINITY;
  }
}
