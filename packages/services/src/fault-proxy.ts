// A TCP relay in front of a server that delays, cuts, freezes and refuses as a test says.

import { createServer, type Server, type Socket, connect as tcpConnect } from "node:net";

/** What a test does to the connections that go through. */
export interface FaultProxy {
  readonly host: string;
  readonly port: number;
  /** `url` with this relay's host and port in place of the server's. */
  through(url: string): string;
  /** Connections open just now. */
  readonly connections: number;
  /** Holds what the server answers for so long before it is passed on; 0: no longer. */
  delayAnswers(ms: number): void;
  /** Passes requests on and keeps back every answer until {@link heal}. */
  freezeAnswers(): void;
  /** Cuts a connection when its server answers next, before a byte of it passes: the work is done, the word is lost. */
  cutAtNextAnswer(): void;
  /** Cuts all connections now. */
  cut(): void;
  /** Cuts all connections and accepts none until {@link heal}. */
  refuse(): void;
  /** Passes everything again, what was kept back first. */
  heal(): void;
  close(): Promise<void>;
}

interface Link {
  readonly client: Socket;
  readonly server: Socket;
  held: Buffer[];
}

/** Starts a relay to `target`. */
export async function faultProxy(target: { readonly host: string; readonly port: number }): Promise<FaultProxy> {
  const links = new Set<Link>();
  const state = { delayMs: 0, frozen: false, refusing: false, cutting: false };

  const end = (link: Link): void => {
    links.delete(link);
    link.client.destroy();
    link.server.destroy();
  };
  const pass = (link: Link): void => {
    const held = link.held;
    link.held = [];
    for (const chunk of held) link.client.write(chunk);
  };
  const answered = (link: Link, chunk: Buffer): void => {
    if (state.cutting) {
      state.cutting = false;
      end(link);
      return;
    }
    link.held.push(chunk);
    if (state.frozen) return;
    if (state.delayMs === 0) pass(link);
    else setTimeout(() => !state.frozen && pass(link), state.delayMs).unref();
  };

  const listener: Server = createServer((client) => {
    if (state.refusing) {
      client.destroy();
      return;
    }
    const server = tcpConnect(target);
    const link: Link = { client, server, held: [] };
    links.add(link);
    for (const socket of [client, server]) {
      socket.setNoDelay(true);
      socket.on("error", () => end(link)).on("close", () => end(link));
    }
    client.on("data", (chunk: Buffer) => server.write(chunk));
    server.on("data", (chunk: Buffer) => answered(link, chunk));
  });
  await new Promise<void>((resolve) => listener.listen(0, "127.0.0.1", resolve));
  const address = listener.address();
  if (address === null || typeof address === "string") throw new Error("a TCP server without a port");
  const { port } = address;
  const cut = (): void => {
    for (const link of [...links]) end(link);
  };

  return {
    host: "127.0.0.1",
    port,
    through: (url) => url.replace(`${target.host}:${target.port}`, `127.0.0.1:${port}`),
    get connections() {
      return links.size;
    },
    delayAnswers(ms) {
      state.delayMs = ms;
    },
    freezeAnswers() {
      state.frozen = true;
    },
    cutAtNextAnswer() {
      state.cutting = true;
    },
    cut,
    refuse() {
      state.refusing = true;
      cut();
    },
    heal() {
      Object.assign(state, { delayMs: 0, frozen: false, refusing: false, cutting: false });
      for (const link of links) pass(link);
    },
    async close() {
      cut();
      await new Promise((resolve) => listener.close(resolve));
    },
  };
}
