// Operations on records as the scripts take them.

import type { Fence, RecordId } from "../../core/record.js";
import type { ClaimRequest } from "../../core/store.js";
import { ByteWriter } from "./bytes.js";
import type { LaneKind, Member } from "./lanes.js";
import { ACTIONS, type ActionName } from "./lua/act.js";
import type { Place } from "./places.js";
import { writeLabels } from "./record-bytes.js";

const NO_FENCE: Fence = "0".repeat(32);
const NO_BYTES = new Uint8Array(0);

/** What an action is given beside the record and the fence; what each means is said in its script. */
export interface ActionArguments {
  readonly one?: number;
  readonly two?: number;
  /** Copied at once, since the caller may use them for something else before they are sent. */
  readonly bytes?: Uint8Array;
  readonly nextFence?: Fence;
}

/** @param unlimited Whether limits have been judged already. */
export function claimMember(place: Place, request: ClaimRequest, unlimited: boolean): Member {
  const { id, fence, ageMs, retention, leaseMs } = request;
  const labels = new ByteWriter(160);
  writeLabels(labels, request);
  const untilGiven = "untilMs" in retention;
  const writer = new ByteWriter(320);
  address(writer, place, id).hex(fence).double(Math.max(0, ageMs));
  writer.byte(untilGiven ? 1 : 0).double(untilGiven ? retention.untilMs : retention.forMs);
  writer
    .double(Math.round(leaseMs))
    .byte(unlimited ? 1 : 0)
    .block(labels.take());
  return { kind: "claims", id, place, bytes: writer.take(), mayTravelAlone: true };
}

export function actionMember(
  action: ActionName,
  place: Place,
  id: RecordId,
  fence: Fence = NO_FENCE,
  { one = 0, two = 0, bytes = NO_BYTES, nextFence = NO_FENCE }: ActionArguments = {},
): Member {
  const writer = new ByteWriter(160 + bytes.byteLength).byte(ACTIONS[action]);
  address(writer, place, id).hex(fence).double(one).double(two).block(bytes).hex(nextFence);
  const kind: LaneKind = action === "complete" || action === "settle" ? "endings" : "others";
  const mayTravelAlone = action !== "watch" && action !== "adopt";
  return { kind, id, place, bytes: writer.take(), mayTravelAlone };
}

function address(writer: ByteWriter, { name }: Place, id: RecordId): ByteWriter {
  return writer.byte(name.length).ascii(name).ascii(id);
}
