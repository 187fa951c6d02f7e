// One bucket of JetStream: its keys read, written and deleted by revision.

import { IdempotencyError } from "../../core/errors.js";
import type {
  JetStreamLike,
  JetStreamManagerLike,
  NatsConnectionLike,
  NatsConsumerLike,
  NatsHeadersLike,
} from "./client.js";
import { isConflict, isFull, unavailable } from "./faults.js";
import { Link } from "./link.js";
import { ScanReader } from "./scan-reader.js";

export interface NatsAccess {
  readonly connection: NatsConnectionLike;
  readonly jetstream: JetStreamLike;
  readonly headers: () => NatsHeadersLike;
  readonly bucket: string;
}

/** What is at a key. `note` is what was written beside the data; null where somebody else's client wrote or deleted it. */
export interface Stored {
  readonly revision: number;
  readonly note: string | null;
  readonly data: Uint8Array;
  /** When it was written, by the server's clock. */
  readonly at: number;
}

/** A key as a scan finds it, without its data. */
export interface Listed {
  readonly key: string;
  readonly revision: number;
  readonly note: string | null;
}

/** A run of revisions, both ends included. */
export interface Zone {
  readonly from: number;
  readonly to: number;
}

const EVERYTHING: Zone = { from: 1, to: Number.POSITIVE_INFINITY };

const NOTE_HEADER = "Onceward";
const JS_API = "$JS.API";
/** Of a message's bytes: the headers that the client adds, and the protocol's own. */
const OVERHEAD_BYTES = 512;
/** Larger values are cut also where the server would take them, since it keeps whole messages in memory. */
const LONGEST_BYTES = 1024 * 1024;
/** Messages that a scan has asked for and not read yet. */
const AHEAD = 500;

/**
 * A revision is the sequence number that the stream gave the key's last message. Reads ask the stream's leader: other
 * replicas, which serve "direct" reads, may lag behind what was acknowledged.
 */
export class NatsBucket {
  readonly stream: string;
  readonly access: NatsAccess;
  readonly #subjects: string;
  readonly #link: Link;
  #manager: JetStreamManagerLike | null = null;
  /** The server's bound on messages, as it said last. */
  #maxPayloadBytes = LONGEST_BYTES;
  /** The stream's own bound on messages, where it has one. */
  #maxMessageBytes = Number.POSITIVE_INFINITY;

  constructor(access: NatsAccess) {
    this.access = access;
    this.stream = `KV_${access.bucket}`;
    this.#subjects = `$KV.${access.bucket}.`;
    this.#link = new Link(access.connection);
  }

  /** JetStream's API, without asking the server anything yet. */
  async manager(): Promise<JetStreamManagerLike> {
    this.#manager ??= await this.access.jetstream.jetstreamManager(false);
    return this.#manager;
  }

  /** From here on lost connections are waited for. `maxMessageBytes`: of the stream, where it is above 0. */
  opened(maxMessageBytes: number): void {
    if (maxMessageBytes > 0) this.#maxMessageBytes = maxMessageBytes;
    this.#link.open();
  }

  close(): void {
    this.#link.close();
  }

  /** How long data may be beside a note of this length. The server may say otherwise after a reconnect. */
  longestData(noteBytes: number): number {
    this.#maxPayloadBytes = this.access.connection.info?.max_payload ?? this.#maxPayloadBytes;
    return Math.min(this.#maxPayloadBytes, this.#maxMessageBytes, LONGEST_BYTES) - OVERHEAD_BYTES - noteBytes;
  }

  async get(key: string): Promise<Stored | null> {
    const { streams } = await this.manager();
    const query = { last_by_subj: `${this.#subjects}${key}` };
    const message = await this.#try(`read ${key}`, () => streams.getMessage(this.stream, query));
    if (message === null) return null;
    const { seq, header, data, time } = message;
    return { revision: seq, note: noteOf(header), data, at: time.getTime() };
  }

  /**
   * Writes where the key's revision still is this one (0: never written, or deleted) and answers the new one, else null.
   * `details.full` says of a `store_unavailable` that the bucket has reached its own bounds.
   */
  async put(key: string, revision: number, note: string, data: Uint8Array): Promise<number | null> {
    const { jetstream } = this.access;
    const prefix = jetstream.apiPrefix === JS_API ? "" : `${jetstream.apiPrefix}.`;
    const headers = this.access.headers();
    headers.set(NOTE_HEADER, note);
    const options = { headers, expect: { lastSubjectSequence: revision } };
    const subject = `${prefix}${this.#subjects}${key}`;
    try {
      return (await this.#link.request(() => jetstream.publish(subject, data, options))).seq;
    } catch (error) {
      if (isConflict(error)) return null;
      if (!isFull(error)) throw unavailable(`write ${key}`, error);
      const reason = `The NATS bucket is full (${(error as Error).message}): raise its max_bytes, or let records go sooner.`;
      throw new IdempotencyError("store_unavailable", reason, { cause: error, details: { full: true } });
    }
  }

  /** Deletes the key where its revision is not above this one, without a trace, and answers whether there was any. */
  async remove(key: string, revision: number): Promise<boolean> {
    const { streams } = await this.manager();
    // Purging a subject up to a sequence number is JetStream's compare-and-delete. A delete marker, which KV clients
    // write, would stay for ever.
    const options = { filter: `${this.#subjects}${key}`, seq: revision + 1 };
    return (await this.#try(`delete ${key}`, () => streams.purge(this.stream, options))).purged > 0;
  }

  /** Messages in the stream: no fewer than there are keys of any kind. */
  async size(): Promise<number> {
    const { streams } = await this.manager();
    return (await this.#try("count its messages", () => streams.info(this.stream))).state.messages;
  }

  /**
   * Reads the keys that match, in the order of their revisions, from one on and up to another, or to the last there is.
   * A key that is written meanwhile may come twice, the second time as it is then.
   */
  async *scan(pattern: string, { from, to }: Zone = EVERYTHING): AsyncGenerator<Listed> {
    const last = () => this.#last(pattern);
    let end = Math.min(to, await last());
    if (end < from) return;
    const consumer = await this.#try("scan its keys", () => this.#consumer(pattern, from));
    const messages = await this.#try("scan its keys", () => consumer.consume({ max_messages: AHEAD }));
    const reader = new ScanReader(messages, last);
    try {
      for (let caughtUp = false; ; ) {
        const message = await reader.next();
        if (message === null || message.seq > to) return;
        const note = message.headers === undefined ? null : noteOf(message.headers);
        yield { key: message.subject.slice(this.#subjects.length), revision: message.seq, note };
        if (message.seq < end) continue;
        // What was written while it read up to there is read too, since it may have been ahead of it before. Not more:
        // where others write all the time there is no end.
        if (!caughtUp) end = Math.min(to, await last());
        if (caughtUp || message.seq >= end) return;
        caughtUp = true;
      }
    } finally {
      reader.close();
      // The server forgets it by itself later.
      consumer.delete().catch(() => {});
    }
  }

  /** The revision of the key that matches and was written last, as the stream's leader has it; 0 where there is none. */
  async #last(pattern: string): Promise<number> {
    return (await this.get(pattern))?.revision ?? 0;
  }

  #consumer(pattern: string, from: number): Promise<NatsConsumerLike> {
    return this.access.jetstream.consumers.get(this.stream, {
      filter_subjects: `${this.#subjects}${pattern}`,
      headers_only: true,
      deliver_policy: "by_start_sequence",
      opt_start_seq: from,
    });
  }

  async #try<T>(doing: string, request: () => Promise<T>): Promise<T> {
    try {
      return await this.#link.request(request);
    } catch (error) {
      throw unavailable(`${doing} in bucket ${this.access.bucket}`, error);
    }
  }
}

function noteOf(headers: NatsHeadersLike): string | null {
  const note = headers.get(NOTE_HEADER);
  return note === "" ? null : note;
}
