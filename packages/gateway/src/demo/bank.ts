// A small bank that moves money on every POST: the upstream of the demo.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Ledger, Transfer } from "./ledger.js";

const MAX_BODY_BYTES = 10_000;

interface Answer {
  readonly status: number;
  readonly body: unknown;
}

/** @param onTransfer Told of each transfer, after it is on the disk. */
export function createBank(ledger: Ledger, onTransfer: (transfer: Transfer) => void): Server {
  return createServer((request, response) => {
    answer(request, ledger, onTransfer).then(
      (result) => send(response, result),
      () => send(response, { status: 500, body: { error: "the bank is out of order" } }),
    );
  });
}

async function answer(
  request: IncomingMessage,
  ledger: Ledger,
  onTransfer: (transfer: Transfer) => void,
): Promise<Answer> {
  const path = (request.url ?? "/").split("?", 1)[0] ?? "/";
  const isRead = request.method === "GET" || request.method === "HEAD";
  if (path === "/transfers" && request.method === "POST") return transfer(await readBody(request), ledger, onTransfer);
  if (path === "/transfers" && isRead) return { status: 200, body: { transfers: ledger.transfers } };
  const account = /^\/accounts\/([a-z]+)$/.exec(path)?.[1];
  const balance = account === undefined ? undefined : ledger.balance(account);
  if (isRead && balance !== undefined) return { status: 200, body: { account, balance } };
  if (isRead && path === "/") {
    return { status: 200, body: { bank: "demo", try: ["POST /transfers", "GET /transfers", "GET /accounts/alice"] } };
  }
  return { status: 404, body: { error: `there is no ${request.method} ${path}` } };
}

function transfer(text: string | null, ledger: Ledger, onTransfer: (transfer: Transfer) => void): Answer {
  if (text === null) return { status: 413, body: { error: "the request is too large" } };
  const { from, to, amount: given } = readFields(text);
  const amount = Number(given);
  const refuse = (status: number, error: string): Answer => ({ status, body: { error } });
  if (typeof from !== "string" || typeof to !== "string" || given === undefined) {
    return refuse(400, "a transfer has from, to and amount");
  }
  for (const name of [from, to])
    if (ledger.balance(name) === undefined) return refuse(404, `there is no account ${name}`);
  if (from === to) return refuse(400, "from and to are the same account");
  if (!Number.isSafeInteger(amount) || amount < 1) return refuse(400, "amount is a whole number of at least 1");
  if ((ledger.balance(from) ?? 0) < amount) return refuse(402, `${from} has only ${ledger.balance(from)}`);
  const made = ledger.transfer(from, to, amount);
  onTransfer(made);
  return { status: 201, body: { transfer: made.id, from, to, amount, [`balance of ${from}`]: ledger.balance(from) } };
}

/** A form, as `curl -d` sends it, or JSON. */
function readFields(text: string): Readonly<Record<string, unknown>> {
  if (!text.trimStart().startsWith("{")) return Object.fromEntries(new URLSearchParams(text));
  try {
    return JSON.parse(text) as Record<string, unknown>;
  } catch {
    return {};
  }
}

/** null where it is too large. */
async function readBody(request: IncomingMessage): Promise<string | null> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > MAX_BODY_BYTES) return null;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

function send(response: ServerResponse, { status, body }: Answer): void {
  const text = `${JSON.stringify(body)}\n`;
  response.writeHead(status, { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(text) });
  response.end(response.req.method === "HEAD" ? undefined : text);
}
