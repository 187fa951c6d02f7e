// MariaDB servers of a test's own.

import { execFile } from "node:child_process";
import { writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { promisify } from "node:util";
import { lookUp, type ServiceNeeds } from "./look-up.js";
import { freePort, PrivateProcess, type PrivateServer, temporaryFolder } from "./private-process.js";

export const MARIADB: ServiceNeeds = {
  name: "MariaDB",
  variable: "ONCEWARD_TEST_MYSQL_URL",
  programs: ["mariadb-install-db", "mariadbd"],
  install: "apt-get install mariadb-server",
};

export interface StartMariadbOptions {
  /** Settings beside the server's defaults, such as `{ "sync-binlog": "1" }`. */
  readonly settings?: Readonly<Record<string, string>>;
}

/** Small, so that it starts quickly; none of it touches what the server makes durable. */
const SMALL = {
  "innodb-buffer-pool-size": "64M",
  "innodb-log-file-size": "32M",
  "performance-schema": "off",
  "skip-name-resolve": "on",
};

/**
 * Starts a MariaDB with its defaults, small, on the machine's own loopback. `root` has no password, `onceward` has the
 * password `onceward` and all rights on the database `test`.
 */
export async function startMariadb({ settings = {} }: StartMariadbOptions = {}): Promise<PrivateServer> {
  const source = lookUp({ ...MARIADB, variable: "" });
  if (source.kind !== "programs") throw new Error(`${MARIADB.programs.join(", ")} not found. ${MARIADB.install}.`);
  const { "mariadb-install-db": installDb = "", mariadbd = "" } = source.paths;
  const folder = temporaryFolder("mariadb");
  const data = join(folder, "data");
  // It refuses to run as root unless it is told to.
  const common = ["--no-defaults", `--datadir=${data}`, ...(process.getuid?.() === 0 ? ["--user=root"] : [])];
  // What the installation wrote is synced by the server itself when it starts; only the wait for each write is spared.
  const install = ["--auth-root-authentication-method=normal", "--skip-test-db", "--innodb-flush-log-at-trx-commit=0"];
  await promisify(execFile)(installDb, [...common, ...install, "--innodb-log-file-size=8M"], { cwd: folder });
  const init = join(folder, "init.sql");
  writeFileSync(init, `${INIT.join("\n")}\n`);
  const port = await freePort();
  const all = {
    ...{
      port: String(port),
      "bind-address": "127.0.0.1",
      socket: join(folder, "socket"),
      "pid-file": join(folder, "pid"),
    },
    ...{ "init-file": init, ...SMALL, ...settings },
  };
  const server = new PrivateProcess({
    port,
    folder,
    url: `mysql://root@127.0.0.1:${port}/test`,
    command: [mariadbd, ...common, ...Object.entries(all).map(([name, value]) => `--${name}=${value}`)],
    answers: () => greets(port),
  });
  await server.start();
  return server;
}

/** Run at each start, before the first connection; a statement a line. */
const INIT = [
  "CREATE DATABASE IF NOT EXISTS test;",
  "CREATE USER IF NOT EXISTS root@'127.0.0.1';",
  "GRANT ALL ON *.* TO root@'127.0.0.1' WITH GRANT OPTION;",
  "CREATE USER IF NOT EXISTS onceward@'127.0.0.1' IDENTIFIED BY 'onceward';",
  "GRANT ALL ON test.* TO onceward@'127.0.0.1';",
];

/** Whether the server begins a handshake: its port is open before it has recovered. */
function greets(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: "127.0.0.1", port });
    const tell = (answer: boolean): void => {
      socket.destroy();
      resolve(answer);
    };
    // https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_connection_phase.html: HandshakeV10.
    socket.once("data", (greeting) => tell(greeting[4] === 10));
    socket.once("error", () => tell(false)).once("close", () => tell(false));
    socket.setTimeout(1_000, () => tell(false));
  });
}
