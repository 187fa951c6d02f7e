// The operations on one record: each one conditional write, whose condition is all that decides (SPEC §4.1, §4.2).

import {
  type Answer,
  type Fence,
  isExpired,
  type RecordId,
  type RecordState,
  type StoredRecord,
} from "../../core/record.js";
import type { ClaimRequest, ClaimResult, Found, Store } from "../../core/store.js";
import { missingChunk } from "../heads/chunks.js";
import { type Content, type Moment, NO_CONTENT } from "../heads/head.js";
import { claim as newHead } from "../heads/transitions.js";
import type { Census } from "./census.js";
import type { Chunks } from "./chunks.js";
import type { DynamoDBAttribute, DynamoDBItem } from "./client.js";
import { bytes, type Kept, keptOf, newItem, number, recordOf, segments, segmentsOf, text } from "./item.js";
import { headKey } from "./layout.js";
import type { Table, Written } from "./table.js";

/** An answer longer than that lies in chunks; of an item's 400 KB it leaves the rest to labels. */
const INLINE_ANSWER_BYTES = 256 * 1024;
/** Every appended step is paid for by the whole item's size, and a thousand of them are to fit. */
const INLINE_STEP_BYTES = 256;

const HOUR_MS = 3_600_000;
/** An operation may run on for long after its retention is over, and needs its steps as long (SPEC §4.10). */
const STEPS_MS = 7 * 24 * HOUR_MS;

// Instants in conditions are judged as head.ts says: `:judged` is this node's clock less the largest skew.
const LIVE = "(#expires > :judged OR #lease > :judged)";
const ABSENT = "attribute_not_exists(pk) OR (#expires <= :judged AND #lease <= :judged)";
const LAPSED = "#lease <= :judged";
const OPEN = "#state IN (:running, :unknown)";
const OWNED = `#fence = :fence AND ${OPEN} AND ${LIVE}`;

const NAMES: DynamoDBItem = {
  ":running": text("running" satisfies RecordState),
  ":unknown": text("unknown" satisfies RecordState),
  ":done": text("done" satisfies RecordState),
  ":zero": number(0),
};

export interface RecordsParts {
  readonly table: Table;
  readonly chunks: Chunks;
  readonly census: Census;
  readonly moment: () => Moment;
  /** A new place in listings, later than all before. */
  readonly sequence: (createdAt: number) => string;
  /** Told of each record when it was read; the clocks of its writer and of this node can be compared by it. */
  readonly onRead: (record: StoredRecord) => void;
}

type Ends = { readonly when: string; readonly fence: Fence; readonly next: Fence };

export class Records {
  readonly #parts: RecordsParts;
  readonly #table: Table;

  constructor(parts: RecordsParts) {
    this.#parts = parts;
    this.#table = parts.table;
  }

  async claim(request: ClaimRequest): Promise<ClaimResult> {
    const { census, sequence } = this.#parts;
    const { account } = request.labels;
    for (;;) {
      const moment = this.#parts.moment();
      const limit = await census.reserve(account, moment);
      if (limit !== null) {
        const kept = await this.#read(request.id, moment);
        const result = kept === null ? ({ outcome: "full", limit } as const) : await this.#met(kept, request, moment);
        if (result !== null) return result;
        continue;
      }
      const { record } = newHead(null, moment, request).next as { readonly record: StoredRecord };
      const item = newItem(record, sequence(record.createdAt));
      const when = { when: ABSENT, values: this.#values(moment) };
      let made = true;
      let written: Written;
      try {
        written = await this.#table.put(item, when, { look: true });
        made = written.done;
      } finally {
        census.settle(account, made);
      }
      if (written.done) return { outcome: "claimed", record, now: moment.judgedAt };
      const kept = this.#live(written.found, moment);
      const result = kept === null ? null : await this.#met(kept, request, moment, record.leaseUntil);
      // What stood in the way is gone again.
      if (result !== null) return result;
    }
  }

  renew(id: RecordId, fence: Fence, leaseMs: number): Promise<boolean> {
    const moment = this.#parts.moment();
    return this.#update(id, "SET #lease = :lease", OWNED, moment, {
      ":fence": text(fence),
      ":lease": number(moment.now + Math.round(leaseMs)),
    });
  }

  complete(id: RecordId, fence: Fence, answer: Answer): Promise<boolean> {
    return this.#finish(id, answer, { when: OWNED, fence, next: fence });
  }

  settle(id: RecordId, fence: Fence, next: Parameters<Store["settle"]>[2]): Promise<boolean> {
    const when = `#fence = :fence AND (#state = :unknown OR (#state = :running AND ${LAPSED})) AND ${LIVE}`;
    return this.#finish(id, next.answer, { when, fence, next: next.fence });
  }

  interrupt(id: RecordId, fence: Fence, status: number, by: "owner" | "finder"): Promise<boolean> {
    const moment = this.#parts.moment();
    const finder = `#fence = :fence AND (#state = :unknown OR (#state = :running AND ${LAPSED})) AND ${LIVE}`;
    // A running record has neither, so that repeating this changes nothing.
    const change =
      "SET #state = :unknown, #status = if_not_exists(#status, :status), #ended = if_not_exists(#ended, :now)";
    return this.#update(
      id,
      by === "owner" ? `${change}, #lease = :zero` : change,
      by === "owner" ? OWNED : finder,
      moment,
      { ":fence": text(fence), ":status": number(status) },
    );
  }

  takeOver(id: RecordId, fence: Fence, next: Parameters<Store["takeOver"]>[2]): Promise<boolean> {
    const moment = this.#parts.moment();
    const { runId } = next;
    const free = `#fence = :fence AND ${OPEN} AND ${LAPSED}`;
    const repeated = "#fence = :next AND #state = :running";
    const run = runId === undefined ? "" : ", #run = :run";
    return this.#update(
      id,
      `SET #state = :running, #fence = :next, #lease = :lease${run} REMOVE #status, #ended`,
      `((${free}) OR (${repeated})) AND ${LIVE}`,
      moment,
      {
        ":fence": text(fence),
        ":next": text(next.fence),
        ":lease": number(moment.now + Math.round(next.leaseMs)),
        ...(runId === undefined ? {} : { ":run": text(runId) }),
      },
    );
  }

  async release(id: RecordId, fence: Fence): Promise<boolean> {
    const when = { when: OWNED, values: this.#values(this.#parts.moment(), { ":fence": text(fence) }) };
    const written = await this.#table.remove(headKey(id), when, { returns: true });
    if (written.done) this.#parts.census.release(written.item?.["account"]?.S);
    return written.done;
  }

  async appendStep(id: RecordId, fence: Fence, entry: Uint8Array): Promise<boolean> {
    const { chunks } = this.#parts;
    const moment = this.#parts.moment();
    let content: Content = { ...NO_CONTENT, inline: entry };
    if (entry.byteLength > INLINE_STEP_BYTES) {
      const kept = await this.#owned(id, fence, moment);
      if (kept === null) return false;
      const keepUntil = Math.max(kept.record.expiresAt, moment.now) + STEPS_MS;
      content = await chunks.write(id, entry, INLINE_STEP_BYTES, moment.now, keepUntil);
    }
    const { spilled, inline } = content;
    const step = spilled.length === 0 ? bytes(inline) : segments(spilled);
    const change = "SET #steps = list_append(if_not_exists(#steps, :none), :step)";
    const values = { ":fence": text(fence), ":none": { L: [] }, ":step": { L: [step] } };
    const appended = await this.#update(id, change, OWNED, moment, values);
    if (!appended) this.#removeLater(id, content);
    return appended;
  }

  async readSteps(id: RecordId, fence: Fence): Promise<readonly Uint8Array[] | null> {
    const kept = await this.#owned(id, fence, this.#parts.moment());
    return kept === null ? null : await Promise.all(kept.steps.map((step) => this.#step(id, step)));
  }

  async find(id: RecordId): Promise<Found | null> {
    for (;;) {
      const moment = this.#parts.moment();
      const kept = await this.#read(id, moment);
      if (kept === null) return null;
      const record = await this.#whole(kept);
      if (record !== null) return { record, now: moment.judgedAt };
    }
  }

  /**
   * What a claim makes of a record that is there; null where that is gone again. `leaseUntil` is what the claim itself
   * would have written: a record that has it is this very claim, sent twice by the SDK.
   */
  async #met(kept: Kept, request: ClaimRequest, moment: Moment, leaseUntil?: number): Promise<ClaimResult | null> {
    const { id, fence, leaseMs } = request;
    let met = kept;
    const own = kept.record.fence === fence && kept.record.state === "running";
    if (own && kept.record.leaseUntil !== leaseUntil) {
      const values = this.#values(moment, {
        ":fence": text(fence),
        ":lease": number(moment.now + Math.round(leaseMs)),
      });
      const condition = { when: `#fence = :fence AND #state = :running AND ${LIVE}`, values };
      const written = await this.#table.update(headKey(id), "SET #lease = :lease", condition, {
        look: true,
        returns: true,
      });
      const now = this.#live(written.done ? written.item : written.found, moment);
      if (now === null) return null;
      if (written.done) return { outcome: "claimed", record: now.record, now: moment.judgedAt };
      met = now;
    } else if (own) return { outcome: "claimed", record: kept.record, now: moment.judgedAt };
    const record = await this.#whole(met);
    return record === null ? null : { outcome: "found", record, now: moment.judgedAt };
  }

  /** running or unknown → done. */
  async #finish(id: RecordId, answer: Answer, { when, fence, next }: Ends): Promise<boolean> {
    const { chunks } = this.#parts;
    const moment = this.#parts.moment();
    const isDone = (kept: Kept | null): boolean => kept?.record.state === "done" && kept.record.fence === next;
    let content: Content = { ...NO_CONTENT, inline: answer.payload };
    if (answer.payload.byteLength > INLINE_ANSWER_BYTES) {
      const kept = await this.#read(id, moment);
      if (kept === null || kept.record.state === "done" || kept.record.fence !== fence) return isDone(kept);
      const keepUntil = kept.record.expiresAt + HOUR_MS;
      content = await chunks.write(id, answer.payload, INLINE_ANSWER_BYTES, moment.now, keepUntil);
    }
    const { spilled, inline } = content;
    const [kind, other] = spilled.length === 0 ? ["payload", "spilled"] : ["spilled", "payload"];
    const values = this.#values(moment, {
      ":fence": text(fence),
      ":next": text(next),
      ":status": number(answer.status),
      ":content": spilled.length === 0 ? bytes(inline) : segments(spilled),
    });
    const change =
      `SET #state = :done, #fence = :next, #status = :status, #ended = :now, #lease = :zero, #${kind} = :content, ` +
      `#ttl = #gone REMOVE #steps, #${other}`;
    const written = await this.#table.update(headKey(id), change, { when, values }, { look: true });
    if (written.done) return true;
    const kept = this.#live(written.found, moment);
    if (kept?.content.spilled[0]?.fence !== spilled[0]?.fence) this.#removeLater(id, content);
    return isDone(kept);
  }

  async #update(id: RecordId, change: string, when: string, moment: Moment, values: DynamoDBItem): Promise<boolean> {
    const condition = { when, values: this.#values(moment, values) };
    const written: Written = await this.#table.update(headKey(id), change, condition);
    return written.done;
  }

  async #read(id: RecordId, moment: Moment): Promise<Kept | null> {
    return this.#live(await this.#table.get(headKey(id)), moment);
  }

  async #owned(id: RecordId, fence: Fence, moment: Moment): Promise<Kept | null> {
    const kept = await this.#read(id, moment);
    return kept?.record.fence === fence && kept.record.state !== "done" ? kept : null;
  }

  #live(item: DynamoDBItem | null, moment: Moment): Kept | null {
    if (item === null) return null;
    const kept = keptOf(item);
    this.#parts.onRead(kept.record);
    return isExpired(kept.record, moment.judgedAt) ? null : kept;
  }

  /** The record with its payload; null where its chunks went with it while it was read. */
  async #whole({ record, content }: Kept): Promise<StoredRecord | null> {
    if (record.state !== "done") return record;
    const payload = await this.#parts.chunks.read(record.id, content);
    // Memory of its own: what the client gave may be a part of a buffer that others have parts of.
    if (payload !== null) return { ...record, payload: new Uint8Array(payload) };
    const again = await this.#table.get(headKey(record.id));
    if (again !== null && recordOf(again).fence === record.fence && again["spilled"] !== undefined) {
      throw missingChunk(record.id, "one of them");
    }
    return null;
  }

  async #step(id: RecordId, step: DynamoDBAttribute): Promise<Uint8Array> {
    if (step.B !== undefined) return new Uint8Array(step.B);
    const entry = await this.#parts.chunks.read(id, { ...NO_CONTENT, spilled: segmentsOf(step, id) });
    if (entry === null) throw missingChunk(id, "a step's");
    return entry;
  }

  /** Where it fails, purging gets to them. */
  #removeLater(id: RecordId, content: Content): void {
    if (content.spilled.length > 0) this.#parts.chunks.remove(id, content).catch(() => {});
  }

  #values(moment: Moment, values: DynamoDBItem = {}): DynamoDBItem {
    return { ...NAMES, ":now": number(moment.now), ":judged": number(moment.judgedAt), ...values };
  }
}
