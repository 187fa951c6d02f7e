// Stands between the AWS SDK and a DynamoDB: sees each request, and answers some of them otherwise.

import { createServer, request as forward, type IncomingMessage, type Server, type ServerResponse } from "node:http";

/** What tests look at of a request's JSON. */
interface RequestBody {
  readonly Key?: RequestItem;
  readonly Item?: RequestItem;
  readonly ConsistentRead?: boolean;
  readonly ConditionExpression?: string;
  readonly UpdateExpression?: string;
  readonly TimeToLiveSpecification?: object;
}

type RequestItem = Readonly<Record<string, { readonly S?: string } | undefined>>;

/** A request as the SDK sent it. */
export interface SeenRequest {
  /** Such as `PutItem`. */
  readonly operation: string;
  readonly body: RequestBody;
}

/** The key of the item that a request is about; of a table as a whole, or an index, there is none. */
export function keyOf({ body }: SeenRequest): { readonly pk: string | undefined; readonly sk: string | undefined } {
  const item = body.Key ?? body.Item;
  return { pk: item?.["pk"]?.S, sk: item?.["sk"]?.S };
}

export type FrontAnswer =
  /** An error as DynamoDB writes it. */
  | { readonly status: number; readonly type: string; readonly message: string }
  /** An answer of another kind. */
  | { readonly json: object }
  /** The request takes effect, and the connection is cut before the first byte of its answer. */
  | "cut"
  /** The request takes effect, and nothing is ever answered. */
  | "silence";

export interface Front {
  readonly url: string;
  readonly seen: SeenRequest[];
  /** What becomes of a request; undefined: it is passed on. */
  plan: (request: SeenRequest) => FrontAnswer | undefined;
  /** How many requests there were since the last time, by operation. */
  count(): Record<string, number>;
  close(): Promise<void>;
}

/** `target`: the URL of the DynamoDB; null: there is none, and all is planned. */
export async function dynamodbFront(target: string | null): Promise<Front> {
  const seen: SeenRequest[] = [];
  let counted = 0;
  const front = {
    seen,
    plan: (_: SeenRequest): FrontAnswer | undefined => undefined,
    count() {
      const counts: Record<string, number> = {};
      for (const { operation } of seen.slice(counted)) counts[operation] = (counts[operation] ?? 0) + 1;
      counted = seen.length;
      return counts;
    },
  };
  const server: Server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const raw = Buffer.concat(chunks);
    const operation = String(request.headers["x-amz-target"]).split(".")[1] ?? "";
    const met = { operation, body: JSON.parse(raw.toString()) as RequestBody };
    seen.push(met);
    const answer = front.plan(met);
    if (answer === undefined || answer === "cut" || answer === "silence") pass(target, request, raw, response, answer);
    else if ("json" in answer) write(response, 200, answer.json);
    else
      write(response, answer.status, {
        __type: `com.amazonaws.dynamodb.v20120810#${answer.type}`,
        message: answer.message,
      });
  });
  // One that is closed just when the SDK uses it again would be a fault that no test asked for.
  server.keepAliveTimeout = 600_000;
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  return Object.assign(front, {
    url: `http://127.0.0.1:${address.port}`,
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  });
}

function write(response: ServerResponse, status: number, json: object): void {
  response.writeHead(status, { "Content-Type": "application/x-amz-json-1.0" });
  response.end(JSON.stringify(json));
}

function pass(
  target: string | null,
  request: IncomingMessage,
  raw: Buffer,
  response: ServerResponse,
  fate: "cut" | "silence" | undefined,
): void {
  if (target === null) throw new Error("nothing is planned for this request, and nobody is behind the front");
  const passed = forward(new URL(request.url ?? "/", target), {
    method: request.method ?? "POST",
    headers: request.headers,
  });
  passed.on("error", () => response.destroy());
  passed.on("response", (answer) => {
    if (fate === undefined) {
      response.writeHead(answer.statusCode ?? 500, answer.headers);
      answer.pipe(response);
      return;
    }
    answer.resume();
    if (fate === "cut") answer.on("end", () => response.destroy());
  });
  passed.end(raw);
}
