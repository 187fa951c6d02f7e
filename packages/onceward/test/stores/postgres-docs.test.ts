// docs/stores/postgres.md says what is so: its statements make the tables, its programs open a store.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { postgresSchema } from "onceward/stores/postgres";
import { describe, expect, it, onTestFinished } from "vitest";
import { faultBench, missing } from "./postgres-kit.js";

const PAGE = readFileSync(fileURLToPath(new URL("../../../../docs/stores/postgres.md", import.meta.url)), "utf8");
const MODULES = fileURLToPath(new URL("../../../../node_modules", import.meta.url));

function blocks(language: string): readonly string[] {
  return [...PAGE.matchAll(new RegExp(`\`\`\`${language}\n([\\s\\S]*?)\`\`\``, "g"))].map(([, text = ""]) => text);
}

describe.skipIf(missing !== null)(missing ?? "PostgreSQL", () => {
  const bench = faultBench();

  it("its statements are those of postgresSchema(), and with its privileges a role can do everything", async () => {
    const [schema = "", grants = ""] = blocks("sql");
    expect(schema).toBe(postgresSchema());
    await bench.admin.query("CREATE ROLE onceward LOGIN; REVOKE CREATE ON SCHEMA public FROM PUBLIC");
    await bench.admin.query(schema);
    await bench.admin.query(grants);
    const client = bench.pool({ url: bench.server.url.replace("postgres@", "onceward@") });
    const store = await bench.node({ client, schema: "public" });
    const request = {
      ...{ id: "1".repeat(64), fence: "a".repeat(32), fingerprint: null, ageMs: 0, leaseMs: 1_000 },
      retention: { forMs: 1_000 },
      labels: { account: "a", key: "k", operation: "POST /", runId: "r" },
    };
    expect((await store.claim(request)).outcome).toBe("claimed");
    expect(await store.setShared("name", new Uint8Array(1), null)).toBe(true);
    await store.history?.putRuns([]);
    expect((await store.history?.listAudit({ limit: 1 }))?.items).toEqual([]);
    expect(await store.release(request.id, request.fence)).toBe(true);
  });

  it("its programs open a store", async () => {
    const programs = blocks("js");
    expect(programs.length).toBe(3);
    const folder = mkdtempSync(join(tmpdir(), "onceward-docs-"));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    symlinkSync(MODULES, join(folder, "node_modules"));
    for (const [index, program] of programs.entries()) {
      const file = join(folder, `${index}.mjs`);
      writeFileSync(file, `${program}\nawait store.open();\nconsole.log(store.info.durability);\nprocess.exit(0);\n`);
      const env = { ...process.env, DATABASE_URL: bench.server.url };
      const child = spawn(process.execPath, [file], { env, stdio: ["ignore", "pipe", "inherit"] });
      let said = "";
      child.stdout.setEncoding("utf8").on("data", (text) => (said += text));
      expect(await once(child, "exit"), program).toEqual([0, null]);
      expect(said.trim()).toBe(program.includes("PGlite") ? "process" : "power-loss");
    }
  }, 60_000);
});
