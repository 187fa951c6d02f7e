// The tables, and how a database gets from one version of them to the next.

/** `PRAGMA application_id` of a file that is ours: "Once" in ASCII. */
export const APPLICATION_ID = 0x4f6e6365;

/**
 * Migrations by number: the first makes version 1. A released one is never changed, since databases have run it.
 *
 * Records have a rowid, so that new rows are written side by side; the random id is only in its index. Answers are kept
 * in the same row. Both were measured (bench/src/store-sqlite.ts): apart they cost a quarter, without rowid half.
 * Labels are in columns of type BLOB, which SQLite converts nothing for: text stays text, and what text cannot hold is
 * kept as a blob (see text.ts).
 */
export const MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE onceward_schema (version INTEGER NOT NULL);
  INSERT INTO onceward_schema VALUES (0);

  CREATE TABLE onceward_accounts (
    id INTEGER PRIMARY KEY,
    name BLOB UNIQUE,
    records INTEGER NOT NULL
  );
  -- Row 0 counts the records of all accounts.
  INSERT INTO onceward_accounts VALUES (0, NULL, 0);

  CREATE TABLE onceward_records (
    seq INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,
    state INTEGER NOT NULL,
    fence BLOB NOT NULL,
    account_id INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    lease_until INTEGER NOT NULL,
    ended_at INTEGER,
    status INTEGER,
    fingerprint BLOB,
    key BLOB NOT NULL,
    operation BLOB NOT NULL,
    run_id BLOB NOT NULL,
    payload BLOB
  );
  CREATE INDEX onceward_records_expiry ON onceward_records (expires_at);
  -- What is unknown waits for an operator, who looks for it. What runs is found among the newest; an index of it, which
  -- every claim and every answer would change, costs a sixth of the throughput.
  CREATE INDEX onceward_records_unknown ON onceward_records (state) WHERE state = 2;

  CREATE TABLE onceward_shared (name BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;

  CREATE TABLE onceward_runs (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    at INTEGER NOT NULL,
    record_id BLOB,
    account BLOB NOT NULL,
    key BLOB NOT NULL,
    route BLOB NOT NULL,
    outcome TEXT NOT NULL,
    flags TEXT NOT NULL,
    run TEXT NOT NULL
  );
  CREATE TABLE onceward_audit (seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, entry TEXT NOT NULL);
  `,
  // Entries one after the other, each with its length before it (core/step-log.ts); NULL where there is none.
  "ALTER TABLE onceward_records ADD COLUMN steps BLOB",
];

/** The version this code reads and writes. */
export const SCHEMA_VERSION: number = MIGRATIONS.length;
