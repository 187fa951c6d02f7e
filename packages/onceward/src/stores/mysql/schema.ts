// The tables, and how a database gets from one version of them to the next.

import { assertIdentifier } from "../sql/checks.js";

/** Names of the tables as they are written into statements. */
export interface Tables {
  readonly records: string;
  readonly shared: string;
  readonly runs: string;
  readonly audit: string;
  readonly schema: string;
}

export const DEFAULT_PREFIX = "onceward_";
/** A name has 64 characters at most, of which the longest of ours takes 7. */
const MAX_PREFIX = 48;
/** Tables of ours say so in their comment, so that no other program's is taken for one. */
export const MARK = "onceward";

/** @throws IdempotencyError `config_invalid`. */
export function tablesOf(factory: string, prefix: string): Tables {
  assertIdentifier(factory, "prefix", prefix, MAX_PREFIX);
  const name = (table: string) => `\`${prefix}${table}\``;
  return {
    records: name("records"),
    shared: name("shared"),
    runs: name("runs"),
    audit: name("audit"),
    schema: name("schema"),
  };
}

/**
 * Migrations by number: the first makes version 1. A released one is never changed, since databases have run it. MySQL
 * commits each statement that changes a schema by itself, so that every one is to be such that it can be run again.
 *
 * Rows stand in the order in which they were made, so that new ones are written side by side; the id, which is random,
 * is only in an index. Clustered by id the store had half the throughput from 200,000 records on (128 MiB of buffers).
 * Every text is bytes: no character set or collation takes part in anything. They are LONGBLOBs, though short, since a
 * claim's INSERT IGNORE would cut off what a smaller type cannot hold.
 */
const MIGRATIONS: ReadonlyArray<(tables: Tables) => readonly string[]> = [
  ({ records, shared, runs, audit }) => [
    `CREATE TABLE IF NOT EXISTS ${records} (
  made_at BIGINT NOT NULL,
  id BINARY(32) NOT NULL,
  state TINYINT NOT NULL,
  fence BINARY(16) NOT NULL,
  account_hash BINARY(8) NOT NULL,
  created_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL,
  lease_until BIGINT NOT NULL,
  ended_at BIGINT,
  status SMALLINT,
  fingerprint LONGBLOB,
  account LONGBLOB NOT NULL,
  \`key\` LONGBLOB NOT NULL,
  operation LONGBLOB NOT NULL,
  run_id LONGBLOB NOT NULL,
  payload LONGBLOB,
  steps LONGBLOB,
  PRIMARY KEY (made_at, id),
  UNIQUE KEY by_id (id),
  KEY by_expiry (expires_at),
  KEY by_state (state),
  KEY by_account (account_hash, made_at, id, expires_at)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC COMMENT='${MARK}'`,
    `CREATE TABLE IF NOT EXISTS ${shared} (
  name VARBINARY(255) NOT NULL PRIMARY KEY,
  value LONGBLOB NOT NULL
) ENGINE=InnoDB COMMENT='${MARK}'`,
    `CREATE TABLE IF NOT EXISTS ${runs} (
  id VARBINARY(64) NOT NULL PRIMARY KEY,
  at BIGINT NOT NULL,
  record_id VARBINARY(64),
  account LONGBLOB NOT NULL,
  \`key\` LONGBLOB NOT NULL,
  route LONGBLOB NOT NULL,
  outcome VARBINARY(32) NOT NULL,
  status SMALLINT,
  flags LONGBLOB NOT NULL,
  run LONGBLOB NOT NULL
) ENGINE=InnoDB COMMENT='${MARK}'`,
    `CREATE TABLE IF NOT EXISTS ${audit} (
  id VARBINARY(64) NOT NULL PRIMARY KEY,
  entry LONGBLOB NOT NULL
) ENGINE=InnoDB COMMENT='${MARK}'`,
  ],
];

/** The version this code reads and writes. */
export const SCHEMA_VERSION: number = MIGRATIONS.length;

/** The statements that take a database from `version` (0: none) to this one, in order, the note of the version last. */
export function migrationsFrom(version: number, tables: Tables): readonly string[] {
  const { schema } = tables;
  return [
    `CREATE TABLE IF NOT EXISTS ${schema} (
  one TINYINT NOT NULL PRIMARY KEY,
  version INT NOT NULL
) ENGINE=InnoDB COMMENT='${MARK}'`,
    ...MIGRATIONS.slice(version).flatMap((migration) => migration(tables)),
    `REPLACE INTO ${schema} (one, version) VALUES (1, ${SCHEMA_VERSION})`,
  ];
}

export interface MysqlSchemaOptions {
  /** What the tables' names begin with. Default `onceward_`. */
  readonly prefix?: string;
  /** The version of the tables that are there; 0, the default, where there are none. */
  readonly from?: number;
}

/**
 * The statements that make the store's tables, or bring those of version `from` up to date, to be run in its database by
 * a user who may create tables; with `migrate: false` the store then does not.
 *
 * @throws IdempotencyError `config_invalid` for a prefix that cannot be part of a table's name.
 */
export function mysqlSchema(options: MysqlSchemaOptions = {}): string {
  const tables = tablesOf("mysqlSchema", options.prefix ?? DEFAULT_PREFIX);
  return migrationsFrom(options.from ?? 0, tables)
    .map((statement) => `${statement};\n`)
    .join("\n");
}
