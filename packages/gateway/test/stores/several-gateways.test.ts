// Several gateways on one store are one layer, whatever server the store is on (SPEC §14.2, issue 3).

import { freePort } from "@onceward/services";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { folder, onceward } from "../cli/help.js";
import { post, until } from "../server/support/client.js";
import { gateway } from "../server/support/gateway.js";
import { gatewayProcess } from "../server/support/process.js";
import { upstream } from "../server/support/upstream.js";
import { AWS, STORE_SERVERS } from "./servers.js";

const KEYS = 30;

Object.assign(process.env, AWS);

for (const server of STORE_SERVERS) {
  const title = server.missing === null ? server.title : `${server.title} (skipped: ${server.missing})`;
  describe.skipIf(server.missing !== null)(`gateways on ${title}`, () => {
    let store: string;
    let remove = async (): Promise<void> => {};

    beforeAll(async () => {
      const started = await server.start();
      store = started.url;
      remove = () => started.remove();
    }, 120_000);

    afterAll(() => remove());

    test("P1, P2: a duplicate that reaches another node is a duplicate, and gets the one answer", async () => {
      let runs = 0;
      const behind = await upstream((seen, response) => {
        runs += 1;
        setTimeout(() => response.end(`${seen.body} as run ${runs}`), 20);
      });
      const settings = { upstream: behind.url, store, whileRunning: { wait: "20s" } };
      const nodes = [await gateway(settings), await gateway(settings)];
      const keys = Array.from({ length: KEYS }, (_, index) => `both-${index}`);
      const answers = await Promise.all(
        keys.flatMap((key) => [...nodes, ...nodes].map(({ port }) => post(port, key, { body: key }))),
      );
      expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200));
      expect(behind.seen).toHaveLength(KEYS);
      for (const [index, key] of keys.entries()) {
        const bodies = answers.slice(index * 4, index * 4 + 4).map(({ body }) => body.toString());
        expect(new Set(bodies).size).toBe(1);
        expect(bodies[0]).toMatch(new RegExp(`^${key} as run`));
      }
      const marked = answers.filter((answer) => answer.header("Idempotent-Replayed") === "true");
      expect(marked).toHaveLength(3 * KEYS);
    });

    test("4.6 a gateway that is killed while it works leaves an unknown outcome to the others, never a second run", async () => {
      const behind = await upstream(() => {});
      const settings = { upstream: behind.url, store, lease: "1s" };
      const first = await gatewayProcess(settings);
      const broken = post(first.port, "killed").catch((error: Error) => error);
      await until(() => behind.seen.length === 1);
      first.kill("SIGKILL");
      await first.gone;
      expect(await broken).toBeInstanceOf(Error);
      const second = await gateway(settings);
      const codes: unknown[] = [];
      await expect
        .poll(
          async () => {
            const answer = await post(second.port, "killed");
            codes.push(answer.json().code);
            return answer.json().code;
          },
          { timeout: 20_000 },
        )
        .toBe("outcome_unknown");
      expect(new Set(codes)).toEqual(new Set(["in_progress", "outcome_unknown"]));
      expect(behind.seen).toHaveLength(1);
    });

    test("4.14, 14.1 the commands of the operator work on it", async () => {
      const behind = await upstream();
      const node = await gateway({ upstream: behind.url, store });
      await post(node.port, "listed");
      const where = { cwd: folder(), env: { ...AWS } };
      const listed = await onceward(["keys", "list", "--store", store], where);
      expect(listed).toMatchObject({ code: 0, stdout: expect.stringContaining("listed") });
      const shown = await onceward(["keys", "show", "listed", "--body", "--store", store], where);
      expect(shown).toMatchObject({ code: 0, stdout: "fine" });
      expect((await onceward(["purge", "--store", store], where)).code).toBe(0);
    });

    test("9.2 where nothing answers it says so in one line, with no password", async () => {
      const url = server.dead(await freePort());
      const config = `upstream: http://127.0.0.1:9\nlisten: 127.0.0.1:0\nadmin: false\nstore: ${JSON.stringify(url)}\ntimeouts:\n  store: 1s\n`;
      const served = await onceward(["serve"], { cwd: folder({ "onceward.yaml": config }), env: { ...AWS } });
      expect(served.code).toBe(1);
      expect(served.stderr).toMatch(/^onceward: [^\n]+\n$/m);
      expect(served.stdout + served.stderr).not.toContain("hunter2");
    });
  });
}
