// The steps of an operation: run once, recorded, and not run again by whoever takes the operation over (SPEC §7.2).
//
// A step in prose. Where the claim was taken over, the log of the runs before is read, once and when the first step asks
// for it. A step whose name is in it is answered from it. Any other is run, and its result is appended to the log under
// the claim's fence before anybody gets it. Three things can go wrong there:
//
// - The fence is refused: somebody else took over. The claim is lost, and the step rejects, so that the run ends.
// - The store is out of reach. It is tried again for half a lease. Then nobody who takes over would know of the step:
//   unless the policy holds interrupted operations (then nobody takes over), the run is broken off, which means that
//   whatever it answers its outcome is unknown (SPEC §4.11). The step is run again by whoever takes over, with the same
//   downstream key.
// - The result cannot be kept, since it is no JSON or too large. That is a fault of the program: the step rejects, and
//   the operation's answer to that is recorded as any other.

import { type ClaimOwner, misused } from "./claim-owner.js";
import { IdempotencyError } from "./errors.js";
import { jsonOf } from "./json-result.js";

/** What a step is given. */
export interface StepContext {
  /**
   * A UUID for calls to other services: the same whenever this step of this key is run, by whichever node. It is
   * derived from scope, key and the step's name under a secret that is kept in the store.
   */
  readonly idempotencyKey: string;
  /** Aborted when the claim is lost. */
  readonly signal: AbortSignal;
}

const MAX_NAME_LENGTH = 255;

export class Steps {
  readonly #owner: ClaimOwner;
  readonly #names = new Set<string>();
  #finished: Promise<ReadonlyMap<string, unknown>> | null = null;
  #count = 0;
  #bytes = 0;

  constructor(owner: ClaimOwner) {
    this.#owner = owner;
  }

  async run<T>(name: string, run: (step: StepContext) => T | Promise<T>): Promise<T> {
    const owner = this.#owner;
    const what = `step ${JSON.stringify(name)}`;
    owner.assertUsable(what);
    this.#take(name, what);
    const { clock, emit, stepLimits, stepSecret } = owner.context;
    const startedMs = clock.monotonic();
    const tell = (outcome: "recorded" | "reused" | "failed" | "unrecorded"): void => {
      const { runId, id: recordId } = owner.facts;
      emit({ type: "step", runId, recordId, name, outcome, durationMs: clock.monotonic() - startedMs });
    };
    const finished = await this.#reading(() => (this.#finished ??= this.#read()));
    if (finished.has(name)) {
      tell("reused");
      return finished.get(name) as T;
    }
    if (++this.#count > stepLimits.maxSteps)
      throw misused(`${what} is one more than ${stepLimits.maxSteps}, the bound (\`maxSteps\`).`);
    const idempotencyKey = await this.#reading(() => stepSecret.keyOf(owner.facts, name));
    owner.assertUsable(what);
    let result: T;
    try {
      result = await run({ idempotencyKey, signal: owner.signal });
    } catch (error) {
      // Nothing is recorded, so that the operation may try it again.
      this.#names.delete(name);
      this.#count--;
      tell("failed");
      throw error;
    }
    let outcome: "recorded" | "unrecorded" = "unrecorded";
    try {
      outcome = await this.#record(what, this.#encode(what, name, result));
    } finally {
      tell(outcome);
    }
    return result;
  }

  #take(name: string, what: string): void {
    if (typeof name !== "string" || name === "" || name.length > MAX_NAME_LENGTH)
      throw misused(`A step's name is a text of 1 to ${MAX_NAME_LENGTH} characters.`);
    if (this.#names.has(name))
      throw misused(
        `${what} is there twice in one run; the name is what its result is found by, so give each its own.`,
      );
    this.#names.add(name);
  }

  /** What must be known before a step can run. Without it the run cannot go on. */
  async #reading<T>(read: () => Promise<T>): Promise<T> {
    try {
      return await read();
    } catch (error) {
      if (!this.#owner.facts.held) this.#owner.breakOff(error);
      throw error;
    }
  }

  async #read(): Promise<ReadonlyMap<string, unknown>> {
    const { tookOver, runId, id, fence, leaseMs } = this.#owner.facts;
    const { calls, store } = this.#owner.context;
    const finished = new Map<string, unknown>();
    if (tookOver === null) return finished;
    const read = (): Promise<readonly Uint8Array[] | null> => store.readSteps(id, fence);
    const log = await calls.insist("read steps", runId, id, read, leaseMs / 2);
    if (log === null) throw this.#owner.refused("The steps of the run before");
    for (const entry of log) {
      const { name, result } = decodeStep(entry);
      // One whose answer was lost may be there twice.
      if (!finished.has(name)) finished.set(name, result);
      this.#bytes += entry.byteLength;
    }
    this.#count = finished.size;
    return finished;
  }

  #encode(what: string, name: string, result: unknown): Uint8Array {
    let json: string | null;
    try {
      json = jsonOf(result);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw misused(
        `${what} ran, and its result cannot be recorded: ${reason}. Return JSON: text for bytes and dates.`,
      );
    }
    const entry = encodeStep(name, json);
    const { maxStepLogBytes } = this.#owner.context.stepLimits;
    if (this.#bytes + entry.byteLength > maxStepLogBytes) {
      const sizes = `${entry.byteLength} bytes beside the ${this.#bytes} that are there, of ${maxStepLogBytes}`;
      throw misused(`${what} ran, and its result is too large to be recorded: ${sizes} (\`maxStepLogBytes\`).`);
    }
    this.#bytes += entry.byteLength;
    return entry;
  }

  async #record(what: string, entry: Uint8Array): Promise<"recorded" | "unrecorded"> {
    const owner = this.#owner;
    const { runId, id, fence, leaseMs } = owner.facts;
    const { calls, store } = owner.context;
    owner.assertUsable(what);
    let held: boolean;
    try {
      held = await calls.insist("record a step", runId, id, () => store.appendStep(id, fence, entry), leaseMs / 2);
    } catch (error) {
      if (owner.facts.held) return "unrecorded";
      owner.breakOff(error);
      throw error;
    }
    if (!held) throw owner.refused(what);
    return "recorded";
  }
}

function encodeStep(name: string, json: string | null): Uint8Array {
  return new TextEncoder().encode(json === null ? `[${JSON.stringify(name)}]` : `[${JSON.stringify(name)},${json}]`);
}

function decodeStep(entry: Uint8Array): { readonly name: string; readonly result: unknown } {
  try {
    const [name, result] = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(entry)) as readonly unknown[];
    if (typeof name === "string") return { name, result };
  } catch {
    // Told below.
  }
  throw new IdempotencyError(
    "store_corrupt",
    "A recorded step cannot be read: it was changed, sealed with a key that is not given, or made by a later version.",
  );
}
