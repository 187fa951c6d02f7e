// What the layer derives from a policy once, so that no request pays for it again.

import type { MachineRules } from "../core/machine.js";
import type { Policy, RecoverFunction } from "../core/policy.js";
import { isNeverKeyed } from "../core/policy-options.js";
import type { KeyRules } from "./idempotency-key.js";

export interface CompiledPolicy {
  /** In lower case. */
  readonly header: string;
  readonly keyRules: KeyRules;
  readonly rules: MachineRules;
  readonly recover: RecoverFunction | null;
}

/** Makes the function that asks about interrupted operations from a gateway's URL template. */
export type AskFactory = (template: string) => RecoverFunction;

/** Policies live as long as their configuration, and so does what was made of them. */
export class PolicyCompiler {
  readonly #compiled = new WeakMap<Policy, CompiledPolicy>();
  readonly #ask: AskFactory | undefined;

  constructor(ask: AskFactory | undefined) {
    this.#ask = ask;
  }

  compile(policy: Policy): CompiledPolicy {
    const known = this.#compiled.get(policy);
    if (known !== undefined) return known;
    const recover = this.#recover(policy.onInterrupted);
    const { header, keyMaxLength, strict, onMismatch, duplicates, waitMs } = policy;
    const compiled: CompiledPolicy = {
      header: header.toLowerCase(),
      keyRules: { header, maxLength: keyMaxLength, strict },
      rules: {
        onMismatch,
        duplicates,
        waits: waitMs > 0,
        onInterrupted: recover !== null ? "recover" : policy.onInterrupted === "rerun" ? "rerun" : "hold",
      },
      recover,
    };
    this.#compiled.set(policy, compiled);
    return compiled;
  }

  #recover(onInterrupted: Policy["onInterrupted"]): RecoverFunction | null {
    if (typeof onInterrupted === "function") return onInterrupted;
    if (typeof onInterrupted === "string") return null;
    if (this.#ask === undefined) throw new Error("this layer was made without `ask`, which the policy needs");
    return this.#ask(onInterrupted.ask);
  }
}

/** Whether a policy may key requests of this method (SPEC K8). */
export function coversMethod(policy: Policy, method: string): boolean {
  return !isNeverKeyed(method) && (policy.methods === "all" || policy.methods.has(method));
}
