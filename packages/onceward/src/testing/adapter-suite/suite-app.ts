// The suite's standard app as data: what the test of an adapter mounts in its framework.

import type { IdempotencyClaim } from "../../http/claim.js";
import type { IdempotencyOptions } from "../../http/idempotency-options.js";
import type { HeaderList } from "../../http/message.js";

/** To be mounted as its users would mount theirs: with the framework's own body parser, router and error handler. */
export interface SuiteApp<Sent> {
  /** To be given to the adapter's `idempotency()` as they are. */
  readonly options: IdempotencyOptions<unknown>;
  readonly routes: readonly SuiteRoute<Sent>[];
}

export interface SuiteRoute<Sent> {
  /** GET, POST, PUT, PATCH, DELETE or OPTIONS; HEAD is the framework's, as it derives it from GET. */
  readonly method: string;
  readonly path: string;
  /** Whether it is behind the middleware. */
  readonly guarded: boolean;
  /** The handler. What it rejects with is to be thrown in the framework's handler. */
  handle(request: SuiteRequest<Sent>): Promise<SuiteAnswer<Sent>>;
}

/** A request as a handler of the framework sees it. */
export interface SuiteRequest<Sent> {
  /** The body as the framework gives it to handlers: text, bytes, or parsed; undefined where there is none. */
  readonly body: unknown;
  /** From the framework's own place; null on a route that is not behind the middleware. */
  readonly claim: IdempotencyClaim<Sent> | null;
}

/** What the framework's handler is to answer, by its own means. */
export type SuiteAnswer<Sent> =
  | {
      readonly kind: "whole";
      readonly status: number;
      /** In this order, repeated ones apart where the framework can. */
      readonly headers: HeaderList;
      /** A text and bytes are sent as they are; null: no body. */
      readonly body: string | Uint8Array | null;
    }
  | {
      /** To be sent piece by piece as they come, by the framework's means for streams; what it throws breaks it off. */
      readonly kind: "stream";
      readonly status: number;
      readonly headers: HeaderList;
      readonly chunks: AsyncIterable<Uint8Array>;
    }
  /** What `claim.transaction` gave: returned from the handler, or already sent. */
  | { readonly kind: "sent"; readonly sent: Sent };

/** The app, listening. */
export interface RunningApp {
  /** Such as `http://127.0.0.1:40123`. */
  readonly url: string;
  /** Stops listening and closes all connections. */
  close(): Promise<void>;
}
