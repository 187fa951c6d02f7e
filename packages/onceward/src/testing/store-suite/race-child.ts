// One process of a race: makes a store on the shared data, waits for the start, does its task and says what came of it.

import { once } from "node:events";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";
import type { Store } from "../../core/store.js";
import type { RaceAnswer, RaceTask } from "./race-protocol.js";
import { answerOf, claimOf, recordIn, SECOND, together } from "./suite-case.js";

async function run(store: Store, task: RaceTask): Promise<RaceAnswer> {
  switch (task.kind) {
    case "claim": {
      const won: Record<string, string> = {};
      const seen: Record<string, string> = {};
      const shuffled = [...task.ids].sort(() => Math.random() - 0.5);
      await together(shuffled.length, async (index) => {
        const request = claimOf({ id: shuffled[index] ?? "" });
        const result = await store.claim(request);
        if (result.outcome === "claimed") won[request.id] = request.fence;
        seen[request.id] = recordIn(result).fence;
      });
      return { kind: "claim", won, seen };
    }
    case "work": {
      const ids: string[] = [];
      let left = task.keys;
      await together(task.callers, async () => {
        while (left-- > 0) {
          const request = claimOf();
          const { outcome } = await store.claim(request);
          if (outcome !== "claimed") throw new Error(`A key of one's own was ${outcome}.`);
          const held = await store.renew(request.id, request.fence, 30 * SECOND);
          const completed = await store.complete(request.id, request.fence, answerOf(`${task.mark} ${request.id}`));
          if (!held || !completed) throw new Error("A claim of one's own was lost.");
          ids.push(request.id);
        }
      });
      return { kind: "work", ids };
    }
    case "count":
      for (let done = 0; done < task.times; ) {
        const current = await store.getShared(task.name);
        const next = current === null ? 1 : Number(new TextDecoder().decode(current)) + 1;
        if (await store.setShared(task.name, new TextEncoder().encode(String(next)), current)) done += 1;
      }
      return { kind: "count" };
  }
}

const [module = "", argument = ""] = process.argv.slice(2);
const url = module.startsWith("file:") ? module : pathToFileURL(module).href;
const { createStore } = (await import(url)) as { readonly createStore: (argument: string) => Store };
const store = createStore(argument);
await store.open();
process.stdout.write("ready\n");
const lines = createInterface({ input: process.stdin });
const [line] = (await once(lines, "line")) as [string];
const answer = await run(store, JSON.parse(line) as RaceTask);
await store.close();
process.stdout.write(`${JSON.stringify(answer)}\n`, () => lines.close());
