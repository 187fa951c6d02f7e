// Operations on records, gathered: those of a node and of a kind travel together in one call of a script.

import { IdempotencyError } from "../../core/errors.js";
import type { RecordId } from "../../core/record.js";
import { Gatherer, type GathererOptions, type Reply } from "../gathering/gatherer.js";
import { ByteReader, ByteWriter } from "./bytes.js";
import type { RedisArgument, RedisLink, RedisNode } from "./link.js";
import { ACT } from "./lua/act.js";
import { CLAIM } from "./lua/claim.js";
import type { Place, Places } from "./places.js";
import { corruptRecord, isNewer, newerRecord } from "./record-bytes.js";
import { Script } from "./script.js";

/** What travels together: claims; what ends a claim with an answer; and the rest. */
export type LaneKind = "claims" | "endings" | "others";

/** One operation on one record. */
export interface Member {
  readonly kind: LaneKind;
  readonly id: RecordId;
  readonly place: Place;
  /** How many bytes it takes, about. */
  readonly bytes: number;
  /** Writes it as the script of its kind takes it. */
  readonly write: (writer: ByteWriter) => void;
  /** False where it is of no use but beside the record's indexes. */
  readonly mayTravelAlone: boolean;
}

/** What a script answered to a member, see there. */
export interface Outcome {
  readonly status: string;
  readonly value: Buffer | null;
  /** The server's clock. */
  readonly now: number;
}

/** What the scripts on records are called with. */
export interface LaneSettings {
  readonly prefix: string;
  /** The instant to judge by, in tests; nothing: the server's. */
  stamp(): string;
  /** What the script of claims takes before the claims. */
  readonly limits: readonly [perAccount: string, perPlace: string];
  /** Whether scripts can say what they may do, as from Redis 7.0 on; known once it is open. */
  readonly flags: () => boolean;
  readonly gathering: Omit<GathererOptions<Member, Outcome>, "send" | "sizeOf">;
}

/** Statuses of members that have a value behind them. */
const WITH_VALUE = "CFVE";

/**
 * An answer is recorded, and a claim ended, also where the server's memory is full: what makes new records is not. From
 * Redis 7.0 on a script can say so; before, such a server refuses both.
 */
const ACT_FLAGS = "#!lua flags=allow-oom,allow-cross-slot-keys\n";

export class Lanes {
  readonly #link: RedisLink;
  readonly #places: Places;
  readonly #settings: LaneSettings;
  readonly #claim = new Script(CLAIM);
  readonly #act = new Script(ACT);
  readonly #flaggedAct = new Script(ACT_FLAGS + ACT);
  readonly #gatherers = new Map<string, Gatherer<Member, Outcome>>();
  /** Told of records that were written without their indexes. */
  readonly #onUnlisted: (id: RecordId) => void;
  #closed = false;

  constructor(link: RedisLink, places: Places, settings: LaneSettings, onUnlisted: (id: RecordId) => void) {
    this.#link = link;
    this.#places = places;
    this.#settings = settings;
    this.#onUnlisted = onUnlisted;
  }

  /** Rejects with `store_unavailable`, `store_corrupt`, `store_schema_newer` or `store_closed`. */
  submit(member: Member): Promise<Outcome> {
    // Each node has lanes of its own, so that one that is slow or gone holds up no other's.
    const name = this.#link.nameOf(member.place.slot);
    const lane = `${member.kind} ${name}`;
    let gatherer = this.#gatherers.get(lane);
    if (gatherer === undefined) {
      gatherer = new Gatherer({
        ...this.#settings.gathering,
        sizeOf: ({ bytes }) => bytes,
        send: (members) => this.#send(name, members),
      });
      this.#gatherers.set(lane, gatherer);
      if (this.#closed) void gatherer.close();
    }
    return gatherer.submit(member);
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all([...this.#gatherers.values()].map((gatherer) => gatherer.close()));
  }

  async #send(name: string, members: readonly Member[]): Promise<readonly Reply<Outcome>[]> {
    const replies: Reply<Outcome>[] = new Array(members.length);
    const node = this.#link.node(name) ?? (await this.#places.nodeOf((members[0] as Member).place));
    let waiting = [...members.keys()];
    while (waiting.length > 0) {
      const sent = waiting;
      const outcomes = await this.#sendTogether(
        node,
        sent.map((index) => members[index] as Member),
      );
      const travellers: number[] = [];
      waiting = [];
      for (const [at, index] of sent.entries()) {
        const member = members[index] as Member;
        const outcome = outcomes?.[at];
        if (outcome?.status === "L") waiting.push(index);
        else if (outcome === undefined || outcome.status === "M") travellers.push(index);
        else replies[index] = this.#replyOf(member, outcome);
      }
      await Promise.all(
        travellers.map(async (index) => (replies[index] = await this.#sendAlone(members[index] as Member))),
      );
      // What has no room in an answer where nothing else is in it never will.
      if (waiting.length === sent.length) throw new Error("a script answered nothing");
    }
    return replies;
  }

  /** What a node answers to them; null where it is gone, so that each is to find its way through the client. */
  async #sendTogether(node: RedisNode | null, members: readonly Member[]): Promise<readonly Outcome[] | null> {
    if (!this.#link.clustered && node !== null) return this.#call(node.send, "0", [], members);
    if (node === null) return null;
    try {
      // No key is named, since a script that the client were redirected with would take keys of others for missing.
      return await this.#call(node.send, "1", [], members);
    } catch (error) {
      if (error instanceof TimedOut) throw error;
      return null;
    }
  }

  /** Of a cluster whose slots are being moved, or whose nodes change: the client is redirected to the record. */
  async #sendAlone(member: Member): Promise<Reply<Outcome>> {
    if (!member.mayTravelAlone) return { ok: true, value: { status: "0", value: null, now: 0 } };
    const key = `${this.#settings.prefix}${member.place.name}r:${member.id}`;
    try {
      const send = (...command: RedisArgument[]) => this.#link.send(key, ...command);
      const [outcome] = await this.#call(send, "2", [key], [member]);
      if (outcome === undefined) throw new Error("a script answered nothing");
      if (outcome.status === "1") this.#onUnlisted(member.id);
      return this.#replyOf(member, outcome);
    } catch (error) {
      return { ok: false, error: unavailable(error) };
    }
  }

  #replyOf({ id }: Member, outcome: Outcome): Reply<Outcome> {
    if (outcome.status === "U") this.#onUnlisted(id);
    if (outcome.status !== "E") return { ok: true, value: outcome };
    return { ok: false, error: faultOf(id, outcome.value?.toString() ?? "") };
  }

  async #call(
    send: RedisNode["send"],
    mode: "0" | "1" | "2",
    keys: readonly string[],
    members: readonly Member[],
  ): Promise<readonly Outcome[]> {
    const { prefix, stamp, limits, flags, gathering } = this.#settings;
    const claims = members[0]?.kind === "claims";
    const script = claims ? this.#claim : flags() ? this.#flaggedAct : this.#act;
    const writer = new ByteWriter(members.reduce((sum, { bytes }) => sum + bytes, 0));
    for (const { write } of members) write(writer);
    const args = [prefix, stamp(), mode, ...(claims ? limits : []), writer.take()];
    try {
      const reply = await inTime(script.run(send, keys, args), gathering.giveUpAfterMs);
      if (!Buffer.isBuffer(reply)) throw new Error("a script answered no bytes");
      return outcomesOf(reply);
    } catch (error) {
      throw error instanceof TimedOut ? error : unavailable(error);
    }
  }
}

function outcomesOf(reply: Buffer): readonly Outcome[] {
  const reader = new ByteReader(reply);
  const now = reader.double();
  const outcomes: Outcome[] = [];
  while (!reader.atEnd) {
    const status = reader.ascii(1);
    outcomes.push({ status, value: WITH_VALUE.includes(status) ? reader.block() : null, now });
  }
  return outcomes;
}

function faultOf(id: RecordId, reason: string): IdempotencyError {
  const format = /^format (\d+)$/.exec(reason)?.[1];
  if (format !== undefined && isNewer(Number(format))) return newerRecord(id, Number(format));
  if (format === undefined && !reason.includes("WRONGTYPE") && !reason.includes("data string too short")) {
    return unavailable(new Error(reason));
  }
  return corruptRecord(id, reason);
}

/** An answer that did not come: the operation may have taken effect, or still may. */
class TimedOut extends IdempotencyError {
  constructor(ms: number) {
    super("store_unavailable", `Redis has not answered within ${ms} ms.`);
  }
}

/** Rejects after a time, so that a server that says nothing does not keep its lane from being tried again. */
export function inTime<T>(answer: Promise<T>, ms: number): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new TimedOut(ms)), ms);
    timer.unref();
    answer.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}

export function unavailable(cause: unknown): IdempotencyError {
  if (cause instanceof IdempotencyError) return cause;
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new IdempotencyError("store_unavailable", `Redis: ${reason}`, { cause });
}
