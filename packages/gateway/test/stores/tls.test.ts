// A store behind TLS: the certificate is checked, and credentials come from the environment (SPEC §14.2, issue 3).

import { chmodSync, chownSync, copyFileSync, mkdirSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { lookUp, POSTGRES, type PrivateServer, startPostgres, temporaryFolder } from "@onceward/services";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type OpenStoreOptions, openStore } from "../../src/stores/open-store.js";
import { authority } from "../server/support/certificates.js";
import { missing } from "../tools.js";

const source = lookUp(POSTGRES, { ...process.env, [POSTGRES.variable]: "" });
if (source.kind === "missing") console.error(source.reason);

describe.skipIf(source.kind === "missing" || missing("openssl"))(
  "a PostgreSQL that has a certificate for 127.0.0.1",
  () => {
    const certificates = temporaryFolder("tls");
    let server: PrivateServer;
    let ca: string;
    let otherCa: string;

    beforeAll(async () => {
      server = await startPostgres();
      const signer = authority(certificates);
      ca = signer.caFile;
      mkdirSync(join(certificates, "other"));
      otherCa = authority(join(certificates, "other")).caFile;
      const made = signer.issue("db.test", "IP:127.0.0.1");
      const { uid, gid } = statSync(server.folder);
      for (const [from, name] of [
        [made.certFile, "server.crt"],
        [made.keyFile, "server.key"],
      ] as const) {
        const to = join(server.folder, "data", name);
        copyFileSync(from, to);
        chownSync(to, uid, gid);
        chmodSync(to, 0o600);
      }
      await query("CREATE ROLE password_role LOGIN SUPERUSER PASSWORD 'p@ss/w:rd'");
      await query("ALTER SYSTEM SET ssl = on");
      await query("SELECT pg_reload_conf()");
      const encrypted = () => query("SHOW ssl").then(([row]) => JSON.stringify(row) === '{"ssl":"on"}');
      while (!(await encrypted()));
    }, 120_000);

    afterAll(async () => {
      rmSync(certificates, { recursive: true });
      await server.remove();
    });

    async function query(text: string): Promise<readonly unknown[]> {
      const client = new pg.Client({ connectionString: server.url });
      await client.connect();
      try {
        return (await client.query(text)).rows;
      } finally {
        await client.end();
      }
    }

    const address = (parameters: string): string => `postgres://127.0.0.1:${server.port}/postgres?${parameters}`;
    const env = { ONCEWARD_STORE_USER: "password_role", ONCEWARD_STORE_PASSWORD: "p@ss/w:rd" };

    test.each(["tls=on&ca=CA", "sslmode=verify-full&sslrootcert=CA", "tls=insecure", "ca=CA"])(
      "?%s: every connection is encrypted, by credentials of the environment",
      async (parameters) => {
        const opened = await openStore(address(parameters.replace("CA", encodeURIComponent(ca))), { env });
        const connections = await query(
          "SELECT ssl, usename FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'onceward'",
        );
        expect(connections.length).toBeGreaterThan(0);
        expect(new Set(connections.map((row) => JSON.stringify(row)))).toEqual(
          new Set([JSON.stringify({ ssl: true, usename: "password_role" })]),
        );
        await opened.close();
      },
    );

    const refused: readonly (readonly [
      string,
      (place: { ca: string; otherCa: string }) => string,
      OpenStoreOptions,
    ])[] = [
      ["another authority's certificate", ({ otherCa: other }) => `tls=on&ca=${encodeURIComponent(other)}`, { env }],
      ["a certificate that no authority known here signed", () => "tls=on", { env }],
      ["a file that is not there", () => "tls=on&ca=/nowhere/ca.pem", { env }],
      ["another password", () => "tls=insecure", { env: { ...env, ONCEWARD_STORE_PASSWORD: "hunter2" } }],
    ];
    test.each(refused)("%s is refused in one line, without the password", async (_, parameters, options) => {
      const error = await openStore(address(parameters({ ca, otherCa })), options).catch((thrown: unknown) => thrown);
      expect(error).toMatchObject({
        code: "store_inaccessible",
        message: expect.not.stringMatching(/\n|hunter2|p@ss/),
      });
    });
  },
);
