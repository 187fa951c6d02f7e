// DynamoDB as tests get it: dynalite, in a process and a folder of its own.

import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { ServiceNeeds } from "./look-up.js";
import { freePort, PrivateProcess, type PrivateServer, temporaryFolder } from "./private-process.js";

/** It comes with the dependencies, so that nothing is ever missing; the variable names another server to test against. */
export const DYNAMODB: ServiceNeeds = {
  name: "DynamoDB",
  variable: "ONCEWARD_TEST_DYNAMODB_URL",
  programs: [],
  install: "npm ci",
};

export interface StartDynamodbOptions {
  /**
   * Whether a condition that does not hold is answered with the item it does not hold for, where that is asked for, as
   * DynamoDB does since 2023 and dynalite does not. Default true.
   */
  readonly answersFound?: boolean;
  /** How long a table is CREATING or DELETING, in milliseconds. Default 0. */
  readonly tableChangeMs?: number;
}

/**
 * Starts a dynalite whose data outlives a SIGKILL. Credentials and Region may be anything. Beside dynalite's own it
 * knows DescribeTimeToLive and UpdateTimeToLive, and deletes nothing by them.
 */
export async function startDynamodb(options: StartDynamodbOptions = {}): Promise<PrivateServer> {
  const { answersFound = true, tableChangeMs = 0 } = options;
  const folder = temporaryFolder("dynamodb");
  const port = await freePort();
  const task = JSON.stringify({ port, path: join(folder, "data"), answersFound, tableChangeMs });
  const server = new PrivateProcess({
    port,
    folder,
    url: `http://127.0.0.1:${port}`,
    command: [process.execPath, fileURLToPath(new URL("./dynamodb-process.js", import.meta.url)), task],
  });
  await server.start();
  return server;
}
