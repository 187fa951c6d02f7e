// SPEC §12's table, written out once more from the specification alone; the product's own profiles are not looked at.

export type ProfileName = "ietf" | "stripe" | "glyue" | "fyno" | "apiture" | "gains";

export interface ProfileRow {
  readonly profile: ProfileName;
  /** "methods": those whose keyed requests are protected. */
  readonly methods: readonly string[];
  /** "key length". */
  readonly keyLength: number;
  /** "compared" and "reused with other data": the refusal's status, or the first answer. */
  readonly reused: 422 | 400 | "first answer";
  /** "statuses taken as not started". */
  readonly notStarted: readonly number[];
  /** Whether a 503 with `Retry-After` is one of them (§4.8, which "§4.8's list" stands for). */
  readonly busyNotStarted: boolean;
  /** "marker on a replay". */
  readonly marker: "Idempotent-Replayed" | null;
  /** "`Date`, `Set-Cookie` replayed". */
  readonly keepsDate: boolean;
  readonly keepsSetCookie: boolean;
  /** §6: the media type of the answers that Onceward makes itself. */
  readonly ownAnswers: "application/problem+json" | "application/json";
}

/** SPEC §4.8: "default 400, 401, …". */
const LIST = [400, 401, 403, 404, 405, 406, 409, 411, 413, 414, 415, 422, 425, 426, 428, 429, 431];
const CALLER = [401, 403, 429];

const problem = "application/problem+json";

export const METHODS: readonly string[] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

/** A sample of every kind of status that an operation may answer. */
export const STATUSES: readonly number[] = [
  200,
  201,
  202,
  204,
  303,
  402,
  410,
  418,
  451,
  500,
  501,
  502,
  503,
  504,
  599,
  ...LIST,
];

export const ROWS: readonly ProfileRow[] = [
  {
    profile: "ietf",
    methods: ["POST", "PATCH"],
    keyLength: 255,
    reused: 422,
    notStarted: LIST,
    busyNotStarted: true,
    marker: "Idempotent-Replayed",
    keepsDate: false,
    keepsSetCookie: false,
    ownAnswers: problem,
  },
  {
    profile: "stripe",
    methods: ["POST"],
    keyLength: 255,
    reused: 400,
    notStarted: LIST,
    busyNotStarted: true,
    marker: "Idempotent-Replayed",
    keepsDate: false,
    keepsSetCookie: false,
    ownAnswers: "application/json",
  },
  {
    profile: "glyue",
    methods: METHODS,
    keyLength: 64,
    reused: "first answer",
    notStarted: CALLER,
    busyNotStarted: false,
    marker: null,
    keepsDate: true,
    keepsSetCookie: true,
    ownAnswers: problem,
  },
  {
    profile: "fyno",
    methods: ["POST"],
    keyLength: 8192,
    reused: "first answer",
    notStarted: LIST,
    busyNotStarted: true,
    marker: null,
    keepsDate: false,
    keepsSetCookie: false,
    ownAnswers: problem,
  },
  {
    profile: "apiture",
    methods: ["POST", "PATCH"],
    keyLength: 255,
    reused: "first answer",
    notStarted: CALLER,
    busyNotStarted: false,
    marker: null,
    keepsDate: false,
    keepsSetCookie: false,
    ownAnswers: problem,
  },
  {
    profile: "gains",
    methods: ["POST", "PUT", "PATCH"],
    keyLength: 255,
    reused: "first answer",
    notStarted: LIST,
    busyNotStarted: true,
    marker: null,
    keepsDate: false,
    keepsSetCookie: false,
    ownAnswers: problem,
  },
];

/** A gateway with all six profiles side by side: `/ietf/…` is under `ietf`, and so on. */
export function allProfiles(upstream: string): Record<string, unknown> {
  const routes = ROWS.map(({ profile }) => ({ match: `/${profile}/**`, profile }));
  return { upstream, routes };
}
