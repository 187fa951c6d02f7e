// What the tests of the adapters for Node's servers share: how they listen, and how they answer what the suite says.

import { once } from "node:events";
import { createServer, type RequestListener, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { Readable } from "node:stream";
import type { RunningApp, SuiteAnswer } from "../../src/testing/adapter-suite.js";

/** Listens on loopback until it is closed, and then lets `end` run. */
export async function listen(listener: RequestListener, end: () => Promise<void>): Promise<RunningApp> {
  const server = createServer(listener);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    async close() {
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
      await end();
    },
  };
}

/** A whole body as Node's streams give it. */
export async function readText(stream: AsyncIterable<Uint8Array>): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of stream) text += decoder.decode(chunk, { stream: true });
  return text + decoder.decode();
}

/** Answers by means of Node alone. */
export function answer(response: ServerResponse, said: SuiteAnswer<void>): void {
  if (said.kind === "sent") return;
  response.statusCode = said.status;
  for (const [name, value] of said.headers) response.appendHeader(name, value);
  if (said.kind === "whole") response.end(said.body ?? undefined);
  else
    Readable.from(said.chunks)
      .on("error", (error) => response.destroy(error))
      .pipe(response);
}
