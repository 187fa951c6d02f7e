// What the server is: fit to keep records, and how durable what it acknowledges is.

import { IdempotencyError } from "../../core/errors.js";
import type { Durability } from "../../core/store.js";
import type { Query } from "./sessions.js";
import { readText } from "./statements.js";

/** What the store asks of the server's settings. */
export interface Server {
  /** The database's name. */
  readonly database: string;
  readonly durability: Durability;
  /** The largest statement, and the largest row, in bytes. */
  readonly maxPacketBytes: number;
  /** What weakens what the store promises, one line each. */
  readonly warnings: readonly string[];
}

const OLDEST = { mariadb: [10, 11], mysql: [8, 0] } as const;

const VARIABLES = [
  "version",
  "autocommit",
  "read_only",
  "super_read_only",
  "innodb_read_only",
  "transaction_isolation",
  "tx_isolation",
  "innodb_flush_log_at_trx_commit",
  "innodb_doublewrite",
  "log_bin",
  "sync_binlog",
  "max_allowed_packet",
];

/** Below it an answer of a mebibyte, SPEC §5.4's bound, is refused, since statements write bytes as two digits each. */
const LEAST_PACKET_BYTES = 4 * 1024 * 1024;

/**
 * Looks at the server's settings.
 *
 * @throws IdempotencyError `store_unsuitable` where it cannot keep what the store promises, `store_inaccessible` where
 * the pool names no database.
 */
export async function inspect(query: Query): Promise<Server> {
  const database = (await query("SELECT DATABASE()")).rows[0]?.[0];
  if (database === null || database === undefined) {
    const reason = "the pool names no database: set its option `database`";
    throw new IdempotencyError("store_inaccessible", `The MySQL store cannot be opened: ${reason}.`);
  }
  const names = VARIABLES.map((name) => `'${name}'`).join(", ");
  const { rows } = await query(`SHOW VARIABLES WHERE Variable_name IN (${names})`);
  const settings = new Map(rows.map((row) => [textOf(row[0]).toLowerCase(), textOf(row[1]).toUpperCase()]));
  const setting = (name: string): string => settings.get(name) ?? "";
  assertSuitable(setting);
  const maxPacketBytes = Number(setting("max_allowed_packet"));
  const { durability, warnings } = durabilityOf(setting);
  if (maxPacketBytes < LEAST_PACKET_BYTES) {
    const most = Math.floor(maxPacketBytes / 2 / 1024);
    const small = `max_allowed_packet is ${maxPacketBytes}, so that no answer beyond ${most} KiB can be recorded; set it to 16M`;
    return { database: textOf(database), durability, maxPacketBytes, warnings: [...warnings, small] };
  }
  return { database: textOf(database), durability, maxPacketBytes, warnings };
}

function assertSuitable(setting: (name: string) => string): void {
  const unsuitable = (reason: string) =>
    new IdempotencyError("store_unsuitable", `The MySQL store cannot use this server: ${reason}.`);
  const version = setting("version");
  const kind = version.includes("MARIADB") ? "mariadb" : "mysql";
  const [major = 0, minor = 0] = version.split(".").map((part) => Number.parseInt(part, 10));
  const [oldestMajor, oldestMinor] = OLDEST[kind];
  if (major < oldestMajor || (major === oldestMajor && minor < oldestMinor)) {
    throw unsuitable(`its version is ${version}; it takes MariaDB 10.11 or MySQL 8.0, or later`);
  }
  for (const name of ["innodb_read_only", "super_read_only", "read_only"]) {
    if (setting(name) !== "ON" && setting(name) !== "1") continue;
    throw unsuitable(
      `${name} is on, as on a replica; the pool must reach the primary, from which alone keys are claimed`,
    );
  }
  if (setting("autocommit") !== "ON") {
    throw unsuitable("autocommit is off in the pool's sessions; give the store a pool in whose sessions it is on");
  }
  if ((setting("transaction_isolation") || setting("tx_isolation")) === "READ-UNCOMMITTED") {
    throw unsuitable(
      "the pool's sessions read uncommitted data, so that an answer could be replayed that was then rolled back; " +
        "set transaction_isolation to READ-COMMITTED or REPEATABLE-READ",
    );
  }
}

/** What a commit that was acknowledged survives. */
function durabilityOf(setting: (name: string) => string): Pick<Server, "durability" | "warnings"> {
  const warnings: string[] = [];
  const flush = setting("innodb_flush_log_at_trx_commit");
  const binlog = setting("log_bin") === "ON" || setting("log_bin") === "1";
  if (flush === "0" || flush === "2") {
    const what = flush === "0" ? "a crash of the server" : "a loss of power";
    warnings.push(`innodb_flush_log_at_trx_commit is ${flush}, so that ${what} loses a second of records; set it to 1`);
  }
  if (binlog && setting("sync_binlog") !== "1") {
    // What is not in the binary log is rolled back at recovery, whatever InnoDB's own log says.
    warnings.push(`sync_binlog is ${setting("sync_binlog")}, so that a loss of power loses records; set it to 1`);
  }
  if (setting("innodb_doublewrite") === "OFF") {
    warnings.push("innodb_doublewrite is off, so that a loss of power may damage the tables; set it to ON");
  }
  const durability = flush === "0" ? "process" : warnings.length === 0 ? "power-loss" : "crash";
  return { durability, warnings };
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : readText(value);
}
