// Finds operations whose owner died and whose client never came back, so that an operator sees them as unknown.

import { OWNER_DIED } from "./engine.js";
import type { EngineEvent } from "./events.js";
import { isLapsed } from "./record.js";
import type { Store } from "./store.js";

const PAGE = 200;

/**
 * Makes each running record whose lease has lapsed unknown, as its next duplicate would (SPEC §4.6, P5), and answers how
 * many there were. Under `rerun` and `recover` nothing changes by that: the next duplicate takes over or asks all the
 * same. Reads all records once, page by page, until `signal` is aborted; `nowMs` only spares the store those that are
 * surely alive.
 *
 * Rejects with `store_unavailable`.
 */
export async function sweepInterrupted(
  store: Store,
  nowMs: () => number,
  emit: (event: EngineEvent) => void,
  signal?: AbortSignal,
): Promise<number> {
  let swept = 0;
  for (let cursor: string | null | undefined; cursor !== null && signal?.aborted !== true; ) {
    const page = await store.list({ state: "running", limit: PAGE, ...(cursor === undefined ? {} : { cursor }) });
    for (const record of page.items) {
      if (!isLapsed(record, nowMs())) continue;
      const { id, fence, runId } = record;
      if (!(await store.interrupt(id, fence, OWNER_DIED, "finder"))) continue;
      // Nobody's request did this, so the event names no run but the one that was interrupted.
      emit({ type: "interrupted", runId: "", recordId: id, of: runId, status: OWNER_DIED });
      swept++;
    }
    cursor = page.next;
  }
  return swept;
}
