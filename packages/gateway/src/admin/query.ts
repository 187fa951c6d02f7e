// Reads the parameters of a listing; what is unknown, repeated or malformed is refused by name.

import type { RecordQuery, RecordState, RunFlag, RunOutcome, RunQuery } from "onceward";
import { AdminError } from "./reply.js";

const DEFAULT_LIMIT = 50;
const MAX_LIMIT = 200;
const MAX_TEXT = 8_192;

// As objects, so that the compiler sees that none is missing.
const OUTCOMES: Readonly<Record<RunOutcome, true>> = {
  running: true,
  recorded: true,
  not_kept: true,
  replayed: true,
  not_started: true,
  refused: true,
  unknown: true,
  bypassed: true,
  observed: true,
};
const FLAGS: Readonly<Record<RunFlag, true>> = {
  IDEMPOTENT_REQUEST: true,
  TAKEN_OVER: true,
  RECOVERED: true,
  WAITED: true,
  RECORDED_LATE: true,
  CLAIM_LOST: true,
  TRUNCATED: true,
  CLIENT_GONE: true,
};
const STATES: Readonly<Record<RecordState, true>> = { running: true, done: true, unknown: true };

/** What a parameter may be: how it is read, and the end of the sentence "it must be …". */
interface Parameter<T> {
  readonly values: string;
  /** undefined where the text is none. */
  read(text: string): T | undefined;
}

const text: Parameter<string> = {
  values: `1 to ${MAX_TEXT} characters`,
  read: (value) => (value !== "" && value.length <= MAX_TEXT ? value : undefined),
};

function oneOf<T extends string>(names: Readonly<Record<T, true>>): Parameter<T> {
  return {
    values: `one of ${Object.keys(names).join(", ")}`,
    read: (value) => (Object.hasOwn(names, value) ? (value as T) : undefined),
  };
}

const recordId: Parameter<string> = {
  values: "a record's id, 64 hexadecimal digits",
  read: (value) => (/^[0-9a-f]{64}$/.test(value) ? value : undefined),
};

const instant: Parameter<number> = {
  values: "epoch milliseconds, or ISO 8601 with a zone such as 2026-01-31T12:00:00Z",
  read(value) {
    if (/^\d{1,15}$/.test(value)) return Number(value);
    const iso = /^\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:\d\d)$/.test(value);
    const at = iso ? Date.parse(value) : Number.NaN;
    return Number.isNaN(at) ? undefined : at;
  },
};

const limit: Parameter<number> = {
  values: `a whole number from 1 to ${MAX_LIMIT}`,
  read: (value) =>
    /^\d{1,3}$/.test(value) && Number(value) >= 1 && Number(value) <= MAX_LIMIT ? Number(value) : undefined,
};

const PAGE = { limit, cursor: text };
const RUN_PARAMETERS = {
  ...PAGE,
  account: text,
  key: text,
  route: text,
  outcome: oneOf(OUTCOMES),
  flag: oneOf(FLAGS),
  record: recordId,
  from: instant,
  to: instant,
};
const RECORD_PARAMETERS = { ...PAGE, state: oneOf(STATES), account: text, key: text };

/** Each of these throws an AdminError 400 that names the parameter at fault. */
export function readRunQuery(query: URLSearchParams): RunQuery {
  const { record, ...filters } = readQuery(query, RUN_PARAMETERS);
  if (filters.from !== undefined && filters.to !== undefined && filters.from >= filters.to) {
    throw new AdminError(400, "The parameter from must be before to, which is exclusive.", { parameter: "from" });
  }
  return record === undefined ? filters : { ...filters, recordId: record };
}

export function readRecordQuery(query: URLSearchParams): RecordQuery {
  return readQuery(query, RECORD_PARAMETERS);
}

export function readPageQuery(query: URLSearchParams): { readonly limit: number; readonly cursor?: string } {
  return readQuery(query, PAGE);
}

export function readNoQuery(query: URLSearchParams): void {
  readQuery(query, {});
}

type Parameters = Readonly<Record<string, Parameter<unknown>>>;
type Values<P extends Parameters> = { readonly [K in keyof P]?: P[K] extends Parameter<infer T> ? T : never };

/** The parameters that were given, and `limit` in any case. */
function readQuery<P extends Parameters>(query: URLSearchParams, known: P): Values<P> & { readonly limit: number } {
  const values: Record<string, unknown> = { limit: DEFAULT_LIMIT };
  const seen = new Set<string>();
  for (const [name, value] of query) {
    const shown = name.slice(0, 40);
    const parameter = Object.hasOwn(known, name) ? known[name] : undefined;
    if (parameter === undefined) {
      const listed = Object.keys(known).join(", ");
      const detail = `There is no parameter ${JSON.stringify(shown)} here; ${listed === "" ? "none is taken" : `there are ${listed}`}.`;
      throw new AdminError(400, detail, { parameter: shown });
    }
    if (seen.has(name))
      throw new AdminError(400, `The parameter ${name} was given more than once.`, { parameter: name });
    seen.add(name);
    const read = parameter.read(value);
    if (read === undefined)
      throw new AdminError(400, `The parameter ${name} must be ${parameter.values}.`, { parameter: name });
    values[name] = read;
  }
  return values as Values<P> & { readonly limit: number };
}
