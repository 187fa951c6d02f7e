// Operations on records as the scripts take them.

import type { Fence, RecordId } from "../../core/record.js";
import type { ClaimRequest } from "../../core/store.js";
import { claimTimes } from "../sql/states.js";
import type { ByteWriter } from "./bytes.js";
import type { LaneKind, Member } from "./lanes.js";
import { ACTIONS, type ActionName } from "./lua/act.js";
import type { Place } from "./places.js";
import { writeLabels } from "./record-bytes.js";

const NO_FENCE: Fence = "0".repeat(32);
const NO_BYTES = new Uint8Array(0);
/** Of a member beside its texts and bytes. */
const OVERHEAD_BYTES = 180;

/** What an action is given beside the record and the fence; what each means is said in its script. */
export interface ActionArguments {
  readonly one?: number;
  readonly two?: number;
  /** Not to be changed by anybody any more. */
  readonly bytes?: Uint8Array;
  readonly nextFence?: Fence;
}

/** @param unlimited Whether limits have been judged already. */
export function claimMember(place: Place, request: ClaimRequest, unlimited: boolean): Member {
  const { id, fence, labels } = request;
  const { account, key, operation, runId } = labels;
  return {
    kind: "claims",
    id,
    place,
    bytes: OVERHEAD_BYTES + account.length + key.length + operation.length + runId.length,
    mayTravelAlone: true,
    write(writer) {
      const { ageMs, forMs, untilAt, leaseMs } = claimTimes(request);
      address(writer, place, id).hex(fence).double(ageMs);
      writer.byte(untilAt === null ? 0 : 1).double(untilAt ?? forMs ?? 0);
      writer.double(leaseMs).byte(unlimited ? 1 : 0);
      writer.nested(() => writeLabels(writer, request));
    },
  };
}

export function actionMember(
  action: ActionName,
  place: Place,
  id: RecordId,
  fence: Fence = NO_FENCE,
  { one = 0, two = 0, bytes = NO_BYTES, nextFence = NO_FENCE }: ActionArguments = {},
): Member {
  const kind: LaneKind = action === "complete" || action === "settle" ? "endings" : "others";
  return {
    kind,
    id,
    place,
    bytes: OVERHEAD_BYTES + bytes.byteLength,
    mayTravelAlone: action !== "watch" && action !== "adopt",
    write(writer) {
      writer.byte(ACTIONS[action]);
      address(writer, place, id).hex(fence).double(one).double(two).block(bytes).hex(nextFence);
    },
  };
}

function address(writer: ByteWriter, { name }: Place, id: RecordId): ByteWriter {
  return writer.byte(name.length).ascii(name).ascii(id);
}
