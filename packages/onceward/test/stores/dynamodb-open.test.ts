// Opening the DynamoDB store: what it makes, what it refuses, and what it says about it.

import { DynamoDB, DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { freePort } from "@onceward/services";
import { describe, expect, it } from "vitest";
import {
  type DynamoDBLike,
  type DynamoDBStoreOptions,
  dynamodbStore,
  dynamodbTable,
} from "../../src/stores/dynamodb.js";
import { clientOptions } from "./dynamodb-client.js";
import type { SeenRequest } from "./dynamodb-front.js";
import { answer, claimOf, dynamodbKit, PATIENCE } from "./dynamodb-kit.js";

const kit = dynamodbKit({ tableChangeMs: 300 });

type AttributeType = "S" | "N" | "B";

/** A table as somebody else may have made it. */
async function made(keys: Record<string, AttributeType>, more: object = {}): Promise<string> {
  const table = kit.table();
  const names = Object.keys(keys);
  await kit.client().createTable({
    TableName: table,
    BillingMode: "PAY_PER_REQUEST",
    AttributeDefinitions: names.map((name) => ({ AttributeName: name, AttributeType: keys[name] })),
    KeySchema: names.map((name, index) => ({ AttributeName: name, KeyType: index === 0 ? "HASH" : "RANGE" })),
    ...more,
  });
  await active(table);
  return table;
}

async function active(table: string): Promise<void> {
  const status = async () => (await kit.client().describeTable({ TableName: table })).Table?.TableStatus;
  await expect.poll(status, PATIENCE).toBe("ACTIVE");
}

function refused(code: string, message: RegExp): object {
  return expect.objectContaining({ code, message: expect.stringMatching(message) });
}

/** Answers an operation with an error of DynamoDB. */
function fails(operation: string, type: string, message = "as the API reference has it"): void {
  kit.front.plan = (request) => (request.operation === operation ? { status: 400, type, message } : undefined);
}

describe("a missing table", () => {
  it("is made, billed on demand, with its index and time to live; opened again nothing is made", async () => {
    const table = kit.table();
    const since = kit.front.seen.length;
    await kit.open({ table });
    const made = kit.front.seen.slice(since).filter(({ operation }) => /^(Create|Update.*ToLive)/.test(operation));
    expect(made.map(({ operation }) => operation)).toEqual(["CreateTable", "UpdateTimeToLive"]);
    expect(made[0]?.body).toEqual(dynamodbTable({ table }));
    expect(made[1]?.body.TimeToLiveSpecification).toEqual({ Enabled: true, AttributeName: "ttl" });
    const again = kit.front.seen.length;
    await kit.open({ table });
    expect(kit.front.seen.slice(again).some(({ operation }) => /^(Create|UpdateTime)/.test(operation))).toBe(false);
    expect(kit.warnings).toEqual([]);
  });

  it("is made once by nodes that start together, and all of them use it", async () => {
    const table = kit.table();
    const stores = await Promise.all([1, 2, 3, 4].map(() => kit.open({ table })));
    const request = claimOf();
    const outcomes = await Promise.all(stores.map((store) => store.claim({ ...claimOf(), id: request.id })));
    expect(outcomes.filter(({ outcome }) => outcome === "claimed")).toHaveLength(1);
    expect(kit.warnings).toEqual([]);
  });

  it("is refused where it is not to be made, and where it may not be", async () => {
    await expect(kit.open({ createTable: false })).rejects.toEqual(
      refused(
        "store_inaccessible",
        /does not exist in this Region and account: create it as docs\/stores\/dynamodb.md says/,
      ),
    );
    fails("CreateTable", "AccessDeniedException", "not authorized to perform: dynamodb:CreateTable");
    await expect(kit.open()).rejects.toEqual(
      refused(
        "store_inaccessible",
        /does not exist and could not be made\. .* allow what docs\/stores\/dynamodb.md lists.*CreateTable/,
      ),
    );
  });

  it("made by hand from dynamodbTable() it is taken, without time to live with a warning", async () => {
    const table = kit.table();
    await kit.client().createTable(dynamodbTable({ table }));
    const store = await kit.open({ table, createTable: false });
    expect((await store.claim(claimOf())).outcome).toBe("claimed");
    expect(kit.warnings).toEqual([
      expect.stringMatching(/does not delete expired records .* \(time to live is off\).*attribute `ttl`/),
    ]);
  });
});

describe("a table that comes or goes", () => {
  /** The table is in this state for so many looks at it. */
  function stands(TableStatus: string, looks: number): void {
    let left = looks;
    kit.front.plan = ({ operation }) =>
      operation === "DescribeTable" && left-- > 0 ? { json: { Table: { TableStatus } } } : undefined;
  }

  it("is waited for while it is CREATING", async () => {
    const table = kit.table();
    await kit.client().createTable(dynamodbTable({ table }));
    stands("CREATING", 3);
    kit.front.count();
    await kit.open({ table });
    expect(kit.front.count()["DescribeTable"]).toBeGreaterThanOrEqual(4);
  });

  it("is refused while it is DELETING, and made anew after it", async () => {
    const table = kit.table();
    await kit.open({ table });
    stands("DELETING", 1);
    await expect(kit.open({ table })).rejects.toEqual(
      refused("store_inaccessible", /is DELETING: start again when it is gone/),
    );
    await kit.client().deleteTable({ TableName: table });
    const gone = () =>
      kit
        .client()
        .describeTable({ TableName: table })
        .then(
          () => false,
          () => true,
        );
    await expect.poll(gone, PATIENCE).toBe(true);
    expect((await (await kit.open({ table })).claim(claimOf())).outcome).toBe("claimed");
  });

  it("that is deleted under a running store fails its operations with the reason", async () => {
    const table = kit.table();
    const store = await kit.open({ table });
    await kit.client().deleteTable({ TableName: table });
    await expect(store.claim(claimOf())).rejects.toEqual(
      refused("store_unavailable", /does not exist in this Region and account: check the client's region and endpoint/),
    );
  });

  it("may be closed while it is waited for", async () => {
    const table = kit.table();
    await kit.client().createTable(dynamodbTable({ table }));
    const store = dynamodbStore({ client: kit.client(), table });
    const opening = store.open();
    const closed = store.close();
    await expect(opening).rejects.toMatchObject({ code: "store_closed" });
    await closed;
  });
});

describe("P4 a table that is not ours is refused and not touched", () => {
  it("with another key", async () => {
    const table = await made({ id: "S" });
    await expect(kit.open({ table })).rejects.toEqual(
      refused(
        "store_foreign",
        /has the key id \(HASH, S\), where Onceward's is pk \(HASH, S\), sk \(RANGE, S\): give `table` another name/,
      ),
    );
    const numbered = await made({ pk: "S", sk: "N" });
    await expect(kit.open({ table: numbered })).rejects.toEqual(refused("store_foreign", /sk \(RANGE, N\), where/));
  });

  it("without our index, or with another of its name", async () => {
    const table = await made({ pk: "S", sk: "S" });
    await expect(kit.open({ table })).rejects.toEqual(
      refused("store_foreign", /has no index `listing`: make the table as/),
    );
    const [index] = dynamodbTable({ table }).GlobalSecondaryIndexes;
    const other = kit.table();
    await kit.client().createTable({
      ...dynamodbTable({ table: other }),
      GlobalSecondaryIndexes: [
        { IndexName: "listing", KeySchema: index?.KeySchema, Projection: { ProjectionType: "KEYS_ONLY" } },
      ],
    });
    await active(other);
    await expect(kit.open({ table: other })).rejects.toEqual(
      refused("store_foreign", /has another index `listing` than Onceward's/),
    );
  });

  it("of the same shape, which holds items of somebody else", async () => {
    const table = kit.table();
    await kit.client().createTable(dynamodbTable({ table }));
    await active(table);
    await kit.client().putItem({ TableName: table, Item: { pk: { S: "order#1" }, sk: { S: "head" } } });
    await expect(kit.open({ table })).rejects.toEqual(refused("store_foreign", /holds items that are not Onceward's/));
    expect(await kit.items(table)).toEqual([{ pk: { S: "order#1" }, sk: { S: "head" } }]);
  });

  it("of a newer version of ours", async () => {
    const table = kit.table();
    const store = await kit.open({ table });
    const request = claimOf();
    await store.claim(request);
    const mark = { pk: { S: "#onceward" }, sk: { S: "-" } };
    await kit.client().updateItem({
      TableName: table,
      Key: mark,
      UpdateExpression: "SET version = :two",
      ExpressionAttributeValues: { ":two": { N: "2" } },
    });
    const before = await kit.items(table);
    await expect(kit.open({ table })).rejects.toEqual(
      refused("store_schema_newer", /has layout 2, this version of Onceward knows 1: upgrade it/),
    );
    expect(await kit.items(table)).toEqual(before);
  });
});

describe("credentials, permissions and the way to the server", () => {
  for (const [type, message] of [
    ["UnrecognizedClientException", /does not accept the credentials: check AWS_ACCESS_KEY_ID/],
    ["InvalidSignatureException", /does not accept the credentials: .*this machine's clock/],
    ["ExpiredTokenException", /have expired: check AWS_ACCESS_KEY_ID/],
    ["AccessDeniedException", /may not be used with these credentials: allow what docs\/stores\/dynamodb.md lists/],
  ] as const) {
    it(`${type} is store_inaccessible at the start, and store_unavailable later`, async () => {
      const store = await kit.open();
      fails("DescribeTable", type);
      await expect(kit.open()).rejects.toEqual(refused("store_inaccessible", message));
      fails("PutItem", type);
      await expect(store.claim(claimOf())).rejects.toEqual(refused("store_unavailable", message));
    });
  }

  it("credentials that may only read are refused at the start", async () => {
    const table = kit.table();
    await kit.open({ table });
    fails("UpdateItem", "AccessDeniedException", "not authorized to perform: dynamodb:UpdateItem");
    await expect(kit.open({ table })).rejects.toEqual(refused("store_inaccessible", /may not be used .*UpdateItem/));
  });

  it("no credentials, no Region, no server: each says what to set", async () => {
    const credentials = async () => {
      throw Object.assign(new Error("Could not load credentials from any providers"), {
        name: "CredentialsProviderError",
      });
    };
    await expect(kit.open({}, { credentials })).rejects.toEqual(
      refused("store_inaccessible", /There are no credentials for DynamoDB: check/),
    );
    const region = async () => {
      throw new Error("Region is missing");
    };
    await expect(kit.open({}, { region })).rejects.toEqual(
      refused("store_inaccessible", /has no Region: give it `region`, or set AWS_REGION/),
    );
    await expect(kit.open({}, { endpoint: `http://127.0.0.1:${await freePort()}` })).rejects.toEqual(
      refused(
        "store_inaccessible",
        /cannot be reached \(ECONNREFUSED\): check the client's endpoint and region, and the network/,
      ),
    );
    kit.front.plan = () => "silence";
    await expect(kit.open({ maxWaitMs: 200 })).rejects.toEqual(
      refused("store_inaccessible", /has not answered within 200 ms/),
    );
  });
});

describe("global tables", () => {
  /** The server's answer about the table, with replicas. */
  async function replicated(table: string, more: object): Promise<void> {
    await kit.open({ table });
    const { Table } = await kit.client().describeTable({ TableName: table });
    const replicas = [{ RegionName: "eu-central-1" }, { RegionName: "us-east-1" }];
    const { TableStatus, KeySchema, AttributeDefinitions, GlobalSecondaryIndexes } = Table ?? {};
    const described = {
      TableStatus,
      KeySchema,
      AttributeDefinitions,
      GlobalSecondaryIndexes,
      Replicas: replicas,
      ...more,
    };
    kit.front.plan = ({ operation }: SeenRequest) =>
      operation === "DescribeTable" ? { json: { Table: described } } : undefined;
  }

  it("P1 whose Regions agree only eventually are refused, since a key could run in each", async () => {
    const table = kit.table();
    await replicated(table, {});
    await expect(kit.open({ table })).rejects.toEqual(
      refused(
        "store_unsuitable",
        /global table \(eu-central-1, us-east-1\) whose Regions agree only eventually.*`oneRegion: true`/,
      ),
    );
    await kit.open({ table, oneRegion: true });
    expect(kit.warnings).toEqual([
      expect.stringMatching(/keep to one Region at a time; what was not replicated when that fails is lost/),
    ]);
  });

  it("with multi-Region strong consistency are as good as one table", async () => {
    const table = kit.table();
    await replicated(table, { MultiRegionConsistency: "STRONG" });
    expect((await (await kit.open({ table })).claim(claimOf())).outcome).toBe("claimed");
    expect(kit.warnings).toEqual([]);
  });
});

describe("time to live", () => {
  it("that may not be looked at or turned on is warned about, and all works", async () => {
    fails("DescribeTimeToLive", "AccessDeniedException");
    const store = await kit.open();
    expect(kit.warnings).toEqual([expect.stringMatching(/\(AccessDeniedException\), so Onceward does/)]);
    expect((await store.claim(claimOf())).outcome).toBe("claimed");
  });

  it("that goes by another attribute is warned about", async () => {
    kit.front.plan = ({ operation }) =>
      operation === "DescribeTimeToLive"
        ? { json: { TimeToLiveDescription: { TimeToLiveStatus: "ENABLED", AttributeName: "deadline" } } }
        : undefined;
    await kit.open();
    expect(kit.warnings).toEqual([expect.stringMatching(/goes by `deadline`/)]);
  });

  it("that two nodes turn on at once is on for both", async () => {
    fails("UpdateTimeToLive", "ValidationException", "TimeToLive is already enabled");
    await kit.open();
    expect(kit.warnings).toEqual([]);
  });
});

describe("options", () => {
  const client = new DynamoDB(clientOptions("http://127.0.0.1:1"));
  const make = (options: Partial<DynamoDBStoreOptions>) => () => dynamodbStore({ client, ...options });

  it("that cannot work are config_invalid, each with its name", () => {
    for (const [options, message] of [
      [
        { client: new DynamoDBClient({}) as unknown as DynamoDBLike },
        /needs a `client`: `new DynamoDB\({ … }\)`.*a DynamoDBClient .* will not do/,
      ],
      [{ client: undefined as never }, /needs a `client`/],
      [{ table: "a" }, /`table` is "a"; a name is 3 to 255/],
      [{ table: "order/s" }, /`table` is "order\/s"/],
      [{ maxClockSkewMs: -1 }, /`maxClockSkewMs` is -1; it is to be a whole number from 0 on/],
      [{ gathering: { maxBatch: 0 } }, /`maxBatch` is 0/],
      [{ maxWaitMs: 1.5 }, /`maxWaitMs` is 1.5/],
      [{ limits: { maxRecords: Number.NaN } }, /`maxRecords` is NaN/],
    ] as const) {
      expect(make(options)).toThrow(refused("config_invalid", message));
    }
  });

  it("4.3 the skew is declared, two seconds where nothing is said", () => {
    expect(make({})().info).toEqual({
      name: "dynamodb",
      durability: "power-loss",
      maxRetentionMs: Number.MAX_SAFE_INTEGER,
      shared: true,
      maxClockSkewMs: 2_000,
    });
    expect(make({ maxClockSkewMs: 50 })().info.maxClockSkewMs).toBe(50);
  });

  it("the table's name is `onceward` where none is given, and the client stays the user's", async () => {
    const own = kit.client();
    const store = dynamodbStore({ client: own });
    await store.open();
    const request = claimOf();
    await store.claim(request);
    await store.complete(request.id, request.fence, answer());
    await store.close();
    const { Item } = await own.getItem({ TableName: "onceward", Key: { pk: { S: request.id }, sk: { S: "head" } } });
    expect(Item?.["state"]).toEqual({ S: "done" });
  });
});
