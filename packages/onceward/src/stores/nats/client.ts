// What the NATS store needs of its user's own objects: structural types, so that the library needs no driver.

/** `headers()` of `@nats-io/transport-node` (or of nats-core, the WebSocket transport, …) makes these. */
export interface NatsHeadersLike {
  get(name: string): string;
  set(name: string, value: string): void;
}

/** A `NatsConnection` of `@nats-io/transport-node` 3. */
export interface NatsConnectionLike {
  readonly info?: { readonly version: string; readonly max_payload: number; readonly headers?: boolean } | undefined;
  isClosed(): boolean;
  /** Such as `disconnect` and `reconnect`, as they happen. */
  status(): AsyncIterable<{ readonly type: string }> & { stop?(): void };
  publish(subject: string): void;
  subscribe(
    subject: string,
    options: { readonly callback: (error: Error | null, message: unknown) => void },
  ): { unsubscribe(): void };
}

/** A `JetStreamClient` of `@nats-io/jetstream` 3: `jetstream(connection)`, with a domain, prefix or timeout of the user's. */
export interface JetStreamLike {
  readonly apiPrefix: string;
  jetstreamManager(checkAPI?: boolean): Promise<JetStreamManagerLike>;
  publish(
    subject: string,
    payload: Uint8Array,
    // Optional, so that the client's own, wider options are found to fit.
    options?: {
      readonly headers?: NatsHeadersLike;
      readonly expect?: { readonly lastSubjectSequence?: number };
    },
  ): Promise<{ readonly seq: number }>;
  readonly consumers: {
    get(stream: string, options: NatsConsumerOptions): Promise<NatsConsumerLike>;
  };
}

export interface JetStreamManagerLike {
  readonly streams: {
    info(stream: string): Promise<NatsStreamInfo>;
    add(config: NatsStreamConfig): Promise<NatsStreamInfo>;
    getMessage(stream: string, query: { readonly last_by_subj: string }): Promise<NatsStoredMessage | null>;
    purge(
      stream: string,
      options: { readonly filter: string; readonly seq: number },
    ): Promise<{ readonly purged: number }>;
  };
}

/** What the store reads of a stream's configuration. */
export interface NatsStreamInfo {
  readonly config: {
    readonly subjects?: readonly string[];
    readonly storage: string;
    readonly retention: string;
    readonly discard: string;
    /** Nanoseconds; 0: for ever. */
    readonly max_age: number;
    readonly max_bytes: number;
    readonly max_msgs: number;
    readonly max_msg_size?: number;
    readonly num_replicas: number;
    readonly sealed: boolean;
    readonly deny_purge: boolean;
    readonly no_ack?: boolean;
    readonly mirror?: unknown;
  };
  readonly state: { readonly messages: number };
}

/** A stream as `jsm.streams.add()` takes it. */
export interface NatsStreamConfig {
  readonly name: string;
  readonly description: string;
  readonly subjects: string[];
  readonly storage: "file";
  readonly retention: "limits";
  readonly discard: "new";
  readonly max_msgs_per_subject: number;
  readonly num_replicas: number;
  readonly allow_rollup_hdrs: boolean;
  readonly deny_delete: boolean;
  readonly allow_direct: boolean;
}

export interface NatsStoredMessage {
  readonly seq: number;
  readonly header: NatsHeadersLike;
  readonly data: Uint8Array;
  readonly time: Date;
}

export interface NatsConsumerOptions {
  readonly filter_subjects: string;
  readonly headers_only: boolean;
  readonly opt_start_seq: number;
  readonly deliver_policy: "by_start_sequence";
}

export interface NatsConsumerLike {
  consume(options: { readonly max_messages: number }): Promise<NatsMessagesLike>;
  delete(): Promise<boolean>;
}

export interface NatsMessagesLike extends AsyncIterable<NatsMessageLike> {
  stop(error?: Error): void;
}

export interface NatsMessageLike {
  readonly subject: string;
  readonly seq: number;
  readonly headers?: NatsHeadersLike | undefined;
}
