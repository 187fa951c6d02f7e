// Places for suites of DynamoDB stores: a table each, on a server that the cases of one file share.

import { randomBytes } from "node:crypto";
import { fileURLToPath } from "node:url";
import { DynamoDB } from "@aws-sdk/client-dynamodb";
import { DYNAMODB, lookUp, type PrivateServer, startDynamodb } from "@onceward/services";
import { dynamodbStore, dynamodbTable } from "onceward/stores/dynamodb";
import { sealedStore } from "onceward/stores/sealed";
import { fakeClock, type StorePlace } from "onceward/testing";
import { clientOptions } from "./dynamodb-client.js";

function newTable(): string {
  return `onceward-${randomBytes(6).toString("hex")}`;
}

/**
 * Under a fake clock, which is the same for all: no clocks are apart. The table is without time to live, so that purging
 * leaves nothing to DynamoDB. `key` (hexadecimal) seals the stores.
 */
export async function dynamodbPlace(url: string, { key }: { readonly key?: string } = {}): Promise<StorePlace> {
  const clock = fakeClock(Date.now());
  const table = newTable();
  const client = new DynamoDB(clientOptions(url));
  await client.createTable(dynamodbTable({ table }));
  const shared = {
    client,
    table,
    createTable: false,
    maxClockSkewMs: 0,
    maxWaitMs: 60_000,
    now: () => clock.now(),
    onWarning: () => {},
  };
  return {
    create(change = {}) {
      const store = dynamodbStore({ ...shared, ...change });
      return key === undefined ? store : sealedStore(store, { keys: [{ id: "race", key: Buffer.from(key, "hex") }] });
    },
    advance: (ms) => clock.advance(ms),
    process: {
      module: fileURLToPath(new URL("./children/dynamodb-store.js", import.meta.url)),
      get argument() {
        return JSON.stringify({ client: clientOptions(url), table, now: clock.now(), key });
      },
    },
    async remove() {
      await client.deleteTable({ TableName: table });
      client.destroy();
    },
  };
}

/** The server that the environment names, else a private one. */
export async function dynamodbServer(
  options: Parameters<typeof startDynamodb>[0] = {},
): Promise<{ readonly url: string; readonly remove: () => Promise<void> }> {
  const source = lookUp(DYNAMODB);
  if (source.kind === "url") return { url: source.url, remove: async () => {} };
  const server: PrivateServer = await startDynamodb(options);
  return { url: server.url, remove: () => server.remove() };
}
