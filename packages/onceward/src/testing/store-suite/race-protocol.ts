// What the processes of a race are told and answer, one line of JSON each.

/** What a process is to do once all of them are ready. */
export type RaceTask =
  /** Claim all of these at once. */
  | { readonly kind: "claim"; readonly ids: readonly string[] }
  /** Claim, renew and complete so many keys of its own, `callers` at a time, with `mark` as the answers. */
  | { readonly kind: "work"; readonly keys: number; readonly callers: number; readonly mark: string }
  /** Add one to a shared counter so many times, by compare and set. */
  | { readonly kind: "count"; readonly name: string; readonly times: number };

/** What it answers. */
export type RaceAnswer =
  | {
      readonly kind: "claim";
      readonly won: Readonly<Record<string, string>>;
      readonly seen: Readonly<Record<string, string>>;
    }
  | { readonly kind: "work"; readonly ids: readonly string[] }
  | { readonly kind: "count" };
