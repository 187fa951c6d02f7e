// The operation's writes and its recorded answer in one transaction (SPEC §7.1).
//
// In prose. The claim is committed long before. The database begins a transaction, the operation's work runs in it, and
// the last statement makes the record done where it still has the claim's fence. What the runner then says is certain:
//
// - committed: the answer is recorded, and the claim has ended without a further write.
// - lost: the statement met no such record, so all is rolled back. Somebody took over, or settled. Where the store says
//   that the record is ours all the same, the transaction ran in another database than the store's: a fault of the program.
// - failed: nothing took effect. The claim goes on, and the operation's answer to the error is recorded as any other.
// - unknown: the word on the COMMIT was lost. The record tells. If it is done with our fence, ours was the statement that
//   made it so, since the fence is nobody else's and this claim completed nothing otherwise. If it has another fence, our
//   statement can never meet it again. If it still is ours and open, the transaction is either over or still holds the
//   row. So we interrupt the record by its fence: that write waits for the row, and then either finds the record done
//   (it did commit), or makes it unknown. After the latter the transaction is dead: its statement had the row locked
//   from when it ran until the transaction ended, so our write cannot have come in between, and the runner sends no COMMIT
//   before the statement has answered. The client is told 503 `outcome_unknown`, and under `rerun` the next request takes
//   over. Should the statement, against the rule, come only after that, it is refused by the new owner's fence; where
//   nobody took over yet it makes the record done together with the writes, which is as true.
//   Where the store cannot be reached for that either, the client is told the same, and it is found out in the background.
//
// Renewals go on meanwhile. One that meets the record after the commit is refused, as one that meets a lost claim is;
// which it was the runner's word tells, so that from the last statement on a refused renewal is not believed.

import { type ClaimOwner, misused } from "./claim-owner.js";
import { IdempotencyError } from "./errors.js";
import type { Answer, Fence, RecordId } from "./record.js";
import type { Store } from "./store.js";
import {
  lacksTransactions,
  type StoreTransactions,
  type TransactionResult,
  type Transactions,
} from "./transactions.js";

/** How a transaction ended for its claim. */
export type TransactionEnd<T> =
  /** The value's answer is recorded, with all that was written: send it. */
  | { readonly outcome: "recorded"; readonly value: T }
  /** Somebody else owns the record; nothing took effect. */
  | { readonly outcome: "lost" }
  /** Nobody knows whether it took effect, or it did not and the record is unknown (SPEC §4.11). */
  | { readonly outcome: "unknown" };

/** The status that an outcome which became unknown at the commit is answered with. */
export const COMMIT_UNKNOWN = 503;

/**
 * What the store offers for a transaction of this database.
 *
 * @throws IdempotencyError `store_unsuitable`, `claim_misused`.
 */
function transactionsFor(store: Store, database: Transactions<unknown>): StoreTransactions {
  const { transactions, info } = store;
  const reason = lacksTransactions(store);
  if (transactions === undefined || reason !== null) throw new IdempotencyError("store_unsuitable", `${reason}.`);
  if (typeof database?.run !== "function") {
    const message =
      "transaction() takes a runner of transactions, such as pgTransactions(pool), and what to run in one.";
    throw new IdempotencyError("claim_misused", message);
  }
  if (database.dialect !== transactions.dialect) {
    throw misused(
      `The transaction is one of ${database.dialect} and the ${info.name} store's records are in ${transactions.dialect}: ` +
        "use the database in which the records are.",
    );
  }
  return transactions;
}

export class ClaimTransactions {
  readonly #owner: ClaimOwner;
  #state: "none" | "working" | "completing" = "none";
  #renewalRefused = false;

  constructor(owner: ClaimOwner) {
    this.#owner = owner;
  }

  /** Whether the claim must not end in another way now. */
  get underWay(): boolean {
    return this.#state !== "none";
  }

  /** Whether the last statement is on its way, so that the database may record the answer at any moment. */
  get completing(): boolean {
    return this.#state === "completing";
  }

  /** A renewal was refused while {@link completing}. */
  renewalRefused(): void {
    this.#renewalRefused = true;
  }

  /** See {@link OwnedClaim.transaction}. */
  async run<Tx, T>(
    database: Transactions<Tx>,
    work: (tx: Tx) => T | Promise<T>,
    answerOf: (value: T) => Answer,
  ): Promise<TransactionEnd<T>> {
    const { id, fence, runId } = this.#owner.facts;
    const { store, emit } = this.#owner.context;
    const transactions = transactionsFor(store, database);
    this.#owner.assertUsable("A transaction");
    if (this.#state !== "none") throw misused("A transaction of this request is under way already.");
    this.#state = "working";
    const answered: T[] = [];
    const result = await keepingItsWord(() =>
      database.run(work, (value) => {
        const answer = answerOf(value);
        answered.push(value);
        this.#state = "completing";
        return transactions.completion(id, fence, answer);
      }),
    );
    emit({ type: "transaction", runId, recordId: id, outcome: result.outcome });
    switch (result.outcome) {
      case "committed":
        return this.#recorded(result.value);
      case "lost":
        return this.#lost();
      case "unknown":
        // Without its last statement nothing was recorded, and no runner commits.
        if (answered.length > 0) return this.#findOut(answered[0] as T);
    }
    this.#goOn();
    throw result.error;
  }

  #recorded<T>(value: T): TransactionEnd<T> {
    const { id, runId } = this.#owner.facts;
    const { emit, changed } = this.#owner.context;
    this.#end();
    emit({ type: "recorded", runId, recordId: id, late: false });
    changed(id);
    return { outcome: "recorded", value };
  }

  async #lost(): Promise<TransactionEnd<never>> {
    const { id, fence, runId } = this.#owner.facts;
    const { store, calls } = this.#owner.context;
    const found = await calls.run("read a record", runId, id, () => store.find(id)).catch(() => null);
    if (found !== null && found.record.fence === fence && found.record.state !== "done") {
      this.#goOn();
      throw misused(
        "The transaction met no record and was rolled back, but the store has the record: they are in different " +
          "databases (or schemas, or table prefixes). Use the database in which the store's records are.",
      );
    }
    this.#end();
    this.#owner.lose();
    return { outcome: "lost" };
  }

  async #findOut<T>(value: T): Promise<TransactionEnd<T>> {
    const { id, fence, leaseMs, runId } = this.#owner.facts;
    const { store, calls, emit } = this.#owner.context;
    // A renewal after the interruption would keep others from taking over.
    this.#end();
    const operation = "find out about a transaction";
    const read = (): Promise<Verdict> => readVerdict(store, id, fence);
    try {
      const verdict = await calls.insist(operation, runId, id, read, leaseMs / 2);
      this.#tell(verdict, false);
      if (verdict === "committed") return { outcome: "recorded", value };
      return { outcome: verdict === "lost" ? "lost" : "unknown" };
    } catch {
      emit({ type: "recording-deferred", runId, recordId: id });
      let verdict: Verdict = "unknown";
      const readLate = async (): Promise<boolean> => {
        verdict = await read();
        return true;
      };
      calls.persist(operation, runId, id, readLate, () => this.#tell(verdict, true));
      return { outcome: "unknown" };
    }
  }

  #tell(verdict: Verdict, late: boolean): void {
    const { id, runId } = this.#owner.facts;
    const { emit, changed } = this.#owner.context;
    if (verdict === "committed") emit({ type: "recorded", runId, recordId: id, late });
    else if (verdict === "undone")
      emit({ type: "interrupted", runId, recordId: id, of: runId, status: COMMIT_UNKNOWN });
    else if (verdict === "lost") this.#owner.lose();
    if (verdict !== "committed" && late) emit({ type: "recording-abandoned", runId, recordId: id });
    changed(id);
  }

  #end(): void {
    this.#state = "none";
    this.#owner.end();
  }

  /** It took no effect: the claim goes on. */
  #goOn(): void {
    this.#state = "none";
    // A refusal that was put down to the transaction is now to be believed, or not.
    if (this.#renewalRefused) this.#owner.renew();
    this.#renewalRefused = false;
  }
}

/** A runner that rejects, against its word, tells nothing. */
async function keepingItsWord<T>(run: () => Promise<TransactionResult<T>>): Promise<TransactionResult<T>> {
  try {
    return await run();
  } catch (error) {
    return { outcome: "unknown", error };
  }
}

type Verdict = "committed" | "lost" | "undone" | "unknown";

/** What the record says of a transaction whose word on the COMMIT was lost. Rejects where the store is out of reach. */
async function readVerdict(store: Store, id: RecordId, fence: Fence): Promise<Verdict> {
  const look = async (): Promise<"committed" | "lost" | "open" | "unknown"> => {
    const record = (await store.find(id))?.record;
    // It has expired, or an operator released it.
    if (record === undefined) return "unknown";
    if (record.fence !== fence) return "lost";
    return record.state === "done" ? "committed" : "open";
  };
  const before = await look();
  if (before !== "open") return before;
  if (await store.interrupt(id, fence, COMMIT_UNKNOWN, "owner")) return "undone";
  const after = await look();
  return after === "open" ? "unknown" : after;
}
