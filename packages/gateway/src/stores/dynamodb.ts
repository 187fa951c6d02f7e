// The store in a DynamoDB table: credentials and Region are found as every AWS client finds them.

import { DynamoDB } from "@aws-sdk/client-dynamodb";
import { dynamodbStore } from "onceward/stores/dynamodb";
import type { RemoteAddress } from "../config/remote-address.js";
import type { ConnectedStore, RemoteStoreOptions } from "./connected-store.js";

export async function connectDynamodb(address: RemoteAddress, options: RemoteStoreOptions): Promise<ConnectedStore> {
  const { region, endpoint } = address.more;
  const client = new DynamoDB({
    ...(region === undefined ? {} : { region }),
    ...(endpoint === undefined ? {} : { endpoint }),
    // Without the last one the SDK only warns.
    requestHandler: {
      connectionTimeout: options.timeoutMs,
      requestTimeout: options.timeoutMs,
      throwOnRequestTimeout: true,
    },
  });
  const store = dynamodbStore({
    client,
    ...(address.name === null ? {} : { table: address.name }),
    ...(address.skewMs === null ? {} : { maxClockSkewMs: address.skewMs }),
    maxWaitMs: options.timeoutMs,
    limits: options.limits,
    onWarning: options.onWarning,
  });
  return { store, disconnect: async () => client.destroy() };
}
