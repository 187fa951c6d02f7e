// The bodies of the requests that change a record, read strictly.

import type { IncomingMessage } from "node:http";
import { z } from "zod";
import type { ReleaseRequest, SettleRequest } from "../contract.js";
import { AdminError } from "./reply.js";
import type { Settlement } from "./settle.js";

/** A recorded body of 1 MiB in Base64, and room for header fields and a reason. */
const MAX_BODY_BYTES = 2 * 1_048_576;
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

const reason = z.string();
const response = z.strictObject({
  status: z.int(),
  headers: z.array(z.tuple([z.string(), z.string()])).exactOptional(),
  body: z.string().regex(BASE64, "must be Base64, with its padding").exactOptional(),
});
const settleSchema: z.ZodType<SettleRequest> = z.union([
  z.strictObject({ reason, outcome: z.literal("never-happened") }),
  z.strictObject({ reason, response }),
]);
const releaseSchema: z.ZodType<ReleaseRequest> = z.strictObject({ reason, force: z.boolean().exactOptional() });

export interface SettleOrder {
  readonly reason: string;
  readonly decision: Settlement;
}

/** @throws AdminError 400, 413 or 415. */
export async function readSettle(request: IncomingMessage): Promise<SettleOrder> {
  const order = parse(
    settleSchema,
    await readJson(request),
    'The body must be { "reason": …, "outcome": "never-happened" } or { "reason": …, "response": { "status", "headers": [[name, value], …], "body": Base64 } }',
  );
  if ("outcome" in order) return { reason: order.reason, decision: { outcome: "never-happened" } };
  const { status, headers = [], body = "" } = order.response;
  return {
    reason: order.reason,
    decision: { outcome: "done", response: { status, headers, body: Buffer.from(body, "base64") } },
  };
}

/** @throws AdminError 400, 413 or 415. */
export async function readRelease(
  request: IncomingMessage,
): Promise<{ readonly reason: string; readonly force: boolean }> {
  const { reason, force } = parse(
    releaseSchema,
    await readJson(request),
    'The body must be { "reason": …, "force": true or false }',
  );
  return { reason, force: force ?? false };
}

function parse<T>(schema: z.ZodType<T>, value: unknown, form: string): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  const where = issue === undefined || issue.path.length === 0 ? "" : `; ${issue.path.join(".")}: ${issue.message}`;
  throw new AdminError(400, `${form}${where}.`);
}

/** A form of another site cannot send this media type without asking first, and is not let. */
async function readJson(request: IncomingMessage): Promise<unknown> {
  const mediaType = (request.headers["content-type"] ?? "").split(";")[0]?.trim().toLowerCase();
  if (mediaType !== "application/json")
    throw new AdminError(415, "The body must be JSON, with Content-Type: application/json.");
  const tooLarge = (): AdminError =>
    new AdminError(413, `The body is larger than ${MAX_BODY_BYTES} bytes.`, { headers: { Connection: "close" } });
  if (Number(request.headers["content-length"] ?? 0) > MAX_BODY_BYTES) throw tooLarge();
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > MAX_BODY_BYTES) throw tooLarge();
    chunks.push(chunk);
  }
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(Buffer.concat(chunks)));
  } catch {
    throw new AdminError(400, "The body is not well-formed JSON in UTF-8.");
  }
}
