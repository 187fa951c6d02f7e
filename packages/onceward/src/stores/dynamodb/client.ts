// As much of the AWS SDK's `DynamoDB` client as the store calls, so that the library needs no SDK.

/** One attribute of an item, as the SDK's low-level client gives and takes it. */
export interface DynamoDBAttribute {
  readonly S?: string | undefined;
  readonly N?: string | undefined;
  readonly B?: Uint8Array | undefined;
  readonly L?: DynamoDBAttribute[] | undefined;
}

export type DynamoDBItem = Record<string, DynamoDBAttribute>;

interface Conditions {
  readonly TableName: string | undefined;
  readonly ConditionExpression?: string | undefined;
  readonly ExpressionAttributeNames?: Record<string, string> | undefined;
  readonly ExpressionAttributeValues?: DynamoDBItem | undefined;
  readonly ReturnValuesOnConditionCheckFailure?: string | undefined;
}

export interface DynamoDBPut extends Conditions {
  readonly Item: DynamoDBItem | undefined;
}

export interface DynamoDBUpdate extends Conditions {
  readonly Key: DynamoDBItem | undefined;
  readonly UpdateExpression?: string | undefined;
  readonly ReturnValues?: string | undefined;
}

export interface DynamoDBDelete extends Conditions {
  readonly Key: DynamoDBItem | undefined;
  readonly ReturnValues?: string | undefined;
}

export interface DynamoDBQuery {
  readonly TableName: string | undefined;
  readonly IndexName?: string | undefined;
  readonly KeyConditionExpression?: string | undefined;
  readonly FilterExpression?: string | undefined;
  readonly ProjectionExpression?: string | undefined;
  readonly ExpressionAttributeNames?: Record<string, string> | undefined;
  readonly ExpressionAttributeValues?: DynamoDBItem | undefined;
  readonly ScanIndexForward?: boolean | undefined;
  readonly Limit?: number | undefined;
  readonly ExclusiveStartKey?: DynamoDBItem | undefined;
}

export interface DynamoDBPage {
  readonly Items?: DynamoDBItem[] | undefined;
  readonly ScannedCount?: number | undefined;
  readonly LastEvaluatedKey?: DynamoDBItem | undefined;
}

/** What a table is, as far as the store looks. */
export interface DynamoDBDescription {
  readonly TableStatus?: string | undefined;
  readonly KeySchema?: DynamoDBKeyPart[] | undefined;
  readonly AttributeDefinitions?: DynamoDBKeyType[] | undefined;
  readonly GlobalSecondaryIndexes?:
    | {
        readonly IndexName?: string | undefined;
        readonly IndexStatus?: string | undefined;
        readonly KeySchema?: DynamoDBKeyPart[] | undefined;
        readonly Projection?:
          | { readonly ProjectionType?: string | undefined; readonly NonKeyAttributes?: string[] | undefined }
          | undefined;
      }[]
    | undefined;
  readonly Replicas?: { readonly RegionName?: string | undefined }[] | undefined;
  readonly MultiRegionConsistency?: string | undefined;
}

export interface DynamoDBKeyPart {
  readonly AttributeName: string | undefined;
  readonly KeyType: "HASH" | "RANGE" | undefined;
}

export interface DynamoDBKeyType {
  readonly AttributeName: string | undefined;
  readonly AttributeType: "S" | "N" | "B" | undefined;
}

/** What makes a table: the input of the SDK's `createTable`. */
export interface DynamoDBTable {
  TableName: string;
  BillingMode: "PAY_PER_REQUEST";
  AttributeDefinitions: { AttributeName: string; AttributeType: "S" }[];
  KeySchema: { AttributeName: string; KeyType: "HASH" | "RANGE" }[];
  GlobalSecondaryIndexes: {
    IndexName: string;
    KeySchema: { AttributeName: string; KeyType: "HASH" | "RANGE" }[];
    Projection: { ProjectionType: "INCLUDE"; NonKeyAttributes: string[] };
  }[];
}

interface RequestOptions {
  readonly abortSignal?: AbortSignal;
}

type Named = { readonly TableName: string | undefined };

/**
 * `new DynamoDB({ … })` of `@aws-sdk/client-dynamodb` 3.363 or later: the client whose operations are methods. (A bare
 * `DynamoDBClient` has only `send(command)`, and the classes of the commands are the SDK's. `DynamoDB` is a
 * `DynamoDBClient` too, so one object serves both.)
 */
export interface DynamoDBLike {
  getItem(
    input: Named & { readonly Key: DynamoDBItem | undefined; readonly ConsistentRead?: boolean | undefined },
    options?: RequestOptions,
  ): Promise<{ readonly Item?: DynamoDBItem | undefined }>;
  putItem(input: DynamoDBPut, options?: RequestOptions): Promise<unknown>;
  updateItem(
    input: DynamoDBUpdate,
    options?: RequestOptions,
  ): Promise<{ readonly Attributes?: DynamoDBItem | undefined }>;
  deleteItem(
    input: DynamoDBDelete,
    options?: RequestOptions,
  ): Promise<{ readonly Attributes?: DynamoDBItem | undefined }>;
  query(input: DynamoDBQuery, options?: RequestOptions): Promise<DynamoDBPage>;
  scan(
    input: Named & { readonly Limit?: number | undefined; readonly ConsistentRead?: boolean | undefined },
    options?: RequestOptions,
  ): Promise<DynamoDBPage>;
  describeTable(input: Named, options?: RequestOptions): Promise<{ readonly Table?: DynamoDBDescription | undefined }>;
  createTable(input: DynamoDBTable, options?: RequestOptions): Promise<unknown>;
  describeTimeToLive(
    input: Named,
    options?: RequestOptions,
  ): Promise<{
    readonly TimeToLiveDescription?:
      | { readonly TimeToLiveStatus?: string | undefined; readonly AttributeName?: string | undefined }
      | undefined;
  }>;
  updateTimeToLive(
    input: Named & {
      readonly TimeToLiveSpecification:
        | { readonly Enabled: boolean | undefined; readonly AttributeName: string | undefined }
        | undefined;
    },
    options?: RequestOptions,
  ): Promise<unknown>;
}
