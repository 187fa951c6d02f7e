// A Redis command sent on a connection of its own, for what has to be said to a server before any client is there.

import { connect } from "node:net";

/** A reply: simple and bulk strings as text, integers, lists; null where there is nothing. */
export type RespReply = string | number | null | readonly RespReply[];

/** Sends one command and resolves with its reply; rejects with the server's error, or where none came in time. */
export function redisCommand(
  { port, timeoutMs = 5_000 }: { readonly port: number; readonly timeoutMs?: number },
  ...args: readonly (string | number)[]
): Promise<RespReply> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: "127.0.0.1", port });
    let received = "";
    const fail = (error: Error): void => {
      socket.destroy();
      reject(error);
    };
    socket.setTimeout(timeoutMs, () => fail(new Error(`Redis on port ${port} did not answer ${args[0]}.`)));
    socket.once("error", fail).once("close", () => fail(new Error(`Redis on port ${port} closed the connection.`)));
    socket.setEncoding("latin1").on("data", (chunk) => {
      received += chunk;
      const parsed = parse(received, 0);
      if (parsed === null) return;
      socket.destroy();
      if (parsed.reply instanceof Error) reject(parsed.reply);
      else resolve(parsed.reply);
    });
    const parts = args.map((arg) => `$${Buffer.byteLength(String(arg))}\r\n${arg}\r\n`);
    socket.write(`*${args.length}\r\n${parts.join("")}`);
  });
}

interface Parsed {
  readonly reply: RespReply | Error;
  readonly end: number;
}

/** https://redis.io/docs/latest/develop/reference/protocol-spec/, version 2; null where it is not whole yet. */
function parse(text: string, start: number): Parsed | null {
  const lineEnd = text.indexOf("\r\n", start);
  if (lineEnd < 0) return null;
  const line = text.slice(start + 1, lineEnd);
  const next = lineEnd + 2;
  switch (text[start]) {
    case "+":
      return { reply: line, end: next };
    case "-":
      return { reply: new Error(line), end: next };
    case ":":
      return { reply: Number(line), end: next };
    case "$": {
      const length = Number(line);
      if (length < 0) return { reply: null, end: next };
      if (text.length < next + length + 2) return null;
      return { reply: text.slice(next, next + length), end: next + length + 2 };
    }
    default: {
      const items: RespReply[] = [];
      let end = next;
      for (let left = Number(line); left > 0; left--) {
        const item = parse(text, end);
        if (item === null) return null;
        items.push(item.reply instanceof Error ? item.reply.message : item.reply);
        end = item.end;
      }
      return { reply: items, end };
    }
  }
}
