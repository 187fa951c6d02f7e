// The process of a private DynamoDB: dynalite, and what it lacks of the answers that the store asks for.

import type { IncomingMessage, RequestListener, Server, ServerResponse } from "node:http";
import { createRequire } from "node:module";

interface Task {
  readonly port: number;
  readonly path: string;
  readonly answersFound: boolean;
  readonly tableChangeMs: number;
}

type Dynalite = (options: {
  readonly path: string;
  readonly createTableMs: number;
  readonly deleteTableMs: number;
}) => Server;

/** What dynalite's own modules share. */
interface DynaliteDb {
  checkConditional(
    request: { readonly ReturnValuesOnConditionCheckFailure?: string },
    item: unknown,
  ): { readonly body: { Item?: unknown } } | null | undefined;
}

const require = createRequire(import.meta.url);

/** `ReturnValuesOnConditionCheckFailure`, as the API reference of PutItem, UpdateItem and DeleteItem has it. */
function answerFound(): void {
  for (const action of ["putItem", "updateItem", "deleteItem"]) {
    const { types } = require(`dynalite/validations/${action}`) as { readonly types: Record<string, unknown> };
    types["ReturnValuesOnConditionCheckFailure"] = { type: "String", enum: ["ALL_OLD", "NONE"] };
  }
  const db = require("dynalite/db") as DynaliteDb;
  const check = db.checkConditional;
  db.checkConditional = (request, item) => {
    const failure = check(request, item);
    if (failure && item && request.ReturnValuesOnConditionCheckFailure === "ALL_OLD") failure.body.Item = item;
    return failure;
  };
}

const timeToLive = new Map<string, string>();

/** Answers the operations of time to live; false: it is another operation. */
function answersTimeToLive(request: IncomingMessage, response: ServerResponse): boolean {
  const operation = String(request.headers["x-amz-target"]).split(".")[1] ?? "";
  if (!["UpdateTimeToLive", "DescribeTimeToLive"].includes(operation)) return false;
  let body = "";
  request.setEncoding("utf8").on("data", (chunk: string) => {
    body += chunk;
  });
  request.on("end", () => {
    const { TableName = "", TimeToLiveSpecification } = JSON.parse(body) as {
      readonly TableName?: string;
      readonly TimeToLiveSpecification?: { readonly AttributeName: string };
    };
    if (TimeToLiveSpecification !== undefined) timeToLive.set(TableName, TimeToLiveSpecification.AttributeName);
    const AttributeName = timeToLive.get(TableName);
    const TimeToLiveDescription =
      AttributeName === undefined ? { TimeToLiveStatus: "DISABLED" } : { TimeToLiveStatus: "ENABLED", AttributeName };
    response.setHeader("Content-Type", "application/x-amz-json-1.0");
    response.end(
      JSON.stringify(TimeToLiveSpecification === undefined ? { TimeToLiveDescription } : { TimeToLiveSpecification }),
    );
  });
  return true;
}

const { port, path, answersFound, tableChangeMs } = JSON.parse(process.argv[2] ?? "") as Task;
if (answersFound) answerFound();
const dynalite = require("dynalite") as Dynalite;
const server = dynalite({ path, createTableMs: tableChangeMs, deleteTableMs: tableChangeMs });
const [own] = server.listeners("request") as RequestListener[];
server.removeAllListeners("request");
server.on("request", (request, response) => {
  if (!answersTimeToLive(request, response)) own?.(request, response);
});
// It throws where a client's connection is cut in the middle of a request.
process.on("uncaughtException", (error: NodeJS.ErrnoException) => {
  if (error.code === "ECONNRESET" || error.message === "aborted") return;
  console.error(error);
  process.exit(1);
});
// A connection that is closed just when a client uses it again would be a fault that no test asked for.
server.keepAliveTimeout = 600_000;
server.listen(port, "127.0.0.1");
