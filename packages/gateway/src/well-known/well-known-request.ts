// A request for what the gateway publishes of itself.

import type { HeaderList } from "onceward/http";

export interface WellKnownRequest {
  readonly method: string;
  /** As received, without the query: a key may hold an encoded slash, which a normalised path may not. */
  readonly path: string;
  /** With or without its `?`. */
  readonly query: string;
  readonly headers: HeaderList;
  /** The environment as for any request of this caller (SPEC S5). */
  readonly environment: string;
}
