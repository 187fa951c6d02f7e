// PostgreSQL servers of a test's own.

import { execFile } from "node:child_process";
import { chownSync, readFileSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { promisify } from "node:util";
import { lookUp, type ServiceNeeds } from "./look-up.js";
import { freePort, PrivateProcess, type PrivateServer, temporaryFolder } from "./private-process.js";

export const POSTGRES: ServiceNeeds = {
  name: "PostgreSQL",
  variable: "ONCEWARD_TEST_POSTGRES_URL",
  programs: ["initdb", "postgres"],
  install: "apt-get install postgresql",
};

export interface StartPostgresOptions {
  /** Settings beside the server's defaults, such as `{ fsync: "off" }`. */
  readonly settings?: Readonly<Record<string, string>>;
}

/**
 * Starts a PostgreSQL with its defaults, in UTF-8, on the machine's own loopback. Its superuser is `postgres`, its data
 * is in `data` in its folder. All roles are trusted but `password_role`, for whoever makes one of that name.
 */
export async function startPostgres({ settings = {} }: StartPostgresOptions = {}): Promise<PrivateServer> {
  const source = lookUp({ ...POSTGRES, variable: "" });
  if (source.kind !== "programs") throw new Error(`${POSTGRES.programs.join(", ")} not found. ${POSTGRES.install}.`);
  const { initdb = "", postgres = "" } = source.paths;
  const folder = temporaryFolder("postgres");
  const data = join(folder, "data");
  const user = unprivileged();
  if (user !== undefined) chownSync(folder, user.uid, user.gid);
  const make = [
    "-D",
    data,
    "-U",
    "postgres",
    "-E",
    "UTF8",
    "--locale=C",
    "--auth=trust",
    "--no-sync",
    "--no-instructions",
  ];
  await promisify(execFile)(initdb, make, { cwd: folder, ...user });
  const rules = join(data, "pg_hba.conf");
  writeFileSync(rules, `host all password_role 127.0.0.1/32 scram-sha-256\n${readFileSync(rules, "utf8")}`);
  const port = await freePort();
  const all = { listen_addresses: "127.0.0.1", port, unix_socket_directories: folder, ...settings };
  const server = new PrivateProcess({
    port,
    folder,
    url: `postgres://postgres@127.0.0.1:${port}/postgres`,
    command: [postgres, "-D", data, ...Object.entries(all).flatMap(([name, value]) => ["-c", `${name}=${value}`])],
    ...(user === undefined ? {} : { user }),
    // "Fast": sessions are ended, not waited for.
    stopSignal: "SIGINT",
    answers: () => beginsSession(port),
  });
  await server.start();
  return server;
}

/** Whom PostgreSQL runs as where this process is root, whom it refuses. */
function unprivileged(): { readonly uid: number; readonly gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const users = readFileSync("/etc/passwd", "utf8");
  const [, uid, gid] = /^postgres:[^:]*:(\d+):(\d+):/m.exec(users) ?? /^nobody:[^:]*:(\d+):(\d+):/m.exec(users) ?? [];
  return { uid: Number(uid), gid: Number(gid) };
}

/** Whether a session can begin: while the server recovers, it refuses them though its port is open. */
function beginsSession(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: "127.0.0.1", port });
    const tell = (answer: boolean): void => {
      socket.destroy();
      resolve(answer);
    };
    // https://www.postgresql.org/docs/current/protocol-message-formats.html: StartupMessage of protocol 3.0.
    const message = Buffer.from("\0\0\0\0\0\x03\0\0user\0postgres\0database\0postgres\0\0", "latin1");
    message.writeInt32BE(message.length);
    socket.once("connect", () => socket.write(message));
    socket.once("data", (answer) => tell(answer.toString("latin1", 0, 1) === "R"));
    socket.once("error", () => tell(false)).once("close", () => tell(false));
  });
}
