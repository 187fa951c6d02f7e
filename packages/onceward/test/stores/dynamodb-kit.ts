// What the DynamoDB store's own tests are built with: stores on tables of their own behind a front, all closed at the end.

import { randomBytes } from "node:crypto";
import { DynamoDB, type DynamoDBClientConfig } from "@aws-sdk/client-dynamodb";
import { type PrivateServer, startDynamodb } from "@onceward/services";
import { afterAll, afterEach, beforeAll } from "vitest";
import type { ClaimRequest, Store } from "../../src/core/store.js";
import { type DynamoDBItem, type DynamoDBStoreOptions, dynamodbStore } from "../../src/stores/dynamodb.js";
import { clientOptions } from "./dynamodb-client.js";
import { dynamodbFront, type Front, keyOf } from "./dynamodb-front.js";

export interface DynamodbKit {
  readonly server: PrivateServer;
  /** Requests go through it; its plan is forgotten after each test. */
  readonly front: Front;
  client(options?: DynamoDBClientConfig): DynamoDB;
  /** A new table's name. */
  table(): string;
  /** An open store, without skew between clocks; `warnings` gets what it says. */
  open(options?: Partial<DynamoDBStoreOptions>, client?: DynamoDBClientConfig): Promise<Store>;
  readonly warnings: string[];
  /** All items of a table. */
  items(table: string): Promise<Record<string, { S?: string; N?: string; B?: Uint8Array }>[]>;
}

export function dynamodbKit(options: Parameters<typeof startDynamodb>[0] = {}): DynamodbKit {
  const closing: (() => unknown)[] = [];
  const warnings: string[] = [];
  let server: PrivateServer;
  let front: Front;
  beforeAll(async () => {
    server = await startDynamodb(options);
    front = await dynamodbFront(server.url);
  });
  afterEach(async () => {
    front.plan = () => undefined;
    for (const close of closing.splice(0).reverse()) await close();
    warnings.length = 0;
  });
  afterAll(async () => {
    await front.close();
    await server.remove();
  });
  const client = (more: DynamoDBClientConfig = {}): DynamoDB => {
    const made = new DynamoDB({ ...clientOptions(front.url), maxAttempts: 1, ...more });
    closing.push(() => made.destroy());
    return made;
  };
  const table = (): string => `onceward-${randomBytes(6).toString("hex")}`;
  return {
    get server() {
      return server;
    },
    get front() {
      return front;
    },
    client,
    table,
    warnings,
    async open(change = {}, clientChange = {}) {
      const store = dynamodbStore({
        client: client(clientChange),
        table: table(),
        maxClockSkewMs: 0,
        onWarning: (message) => warnings.push(message),
        ...change,
      });
      closing.push(() => store.close());
      await store.open();
      return store;
    },
    async items(name) {
      const items: Awaited<ReturnType<DynamodbKit["items"]>> = [];
      const reader = client();
      for (let from: DynamoDBItem | undefined; ; ) {
        const page = await reader.scan({
          TableName: name,
          ConsistentRead: true,
          ...(from === undefined ? {} : { ExclusiveStartKey: from as Record<string, { S: string }> }),
        });
        items.push(...((page.Items ?? []) as typeof items));
        from = page.LastEvaluatedKey as DynamoDBItem | undefined;
        if (from === undefined) return items;
      }
    },
  };
}

/** For polling, on a busy machine. */
export const PATIENCE = { timeout: 20_000 };

export function claimOf(change: Partial<ClaimRequest> = {}): ClaimRequest {
  return {
    id: randomBytes(32).toString("hex"),
    fence: randomBytes(16).toString("hex"),
    fingerprint: null,
    ageMs: 0,
    retention: { forMs: 3_600_000 },
    leaseMs: 60_000,
    labels: { account: "acme", key: "k", operation: "POST /x", runId: "r" },
    ...change,
  };
}

export const fence = (): string => randomBytes(16).toString("hex");
export const answer = (
  payload: Uint8Array | string = "done",
  status = 200,
): { status: number; payload: Uint8Array } => ({
  status,
  payload: typeof payload === "string" ? new TextEncoder().encode(payload) : payload,
});

/** The requests about records, by operation: not those of counting, purging and the store's own items. */
export function aboutRecords(front: Front, since = 0): string[] {
  return front.seen
    .slice(since)
    .filter((request) => !(keyOf(request).pk ?? "#").startsWith("#"))
    .map(({ operation }) => operation);
}
