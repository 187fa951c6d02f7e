// The relay does to connections what its names say; what tests of faults rest on.

import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type FaultProxy, faultProxy } from "../src/fault-proxy.js";

let server: Server;
let proxy: FaultProxy;
let received: string[];

beforeEach(async () => {
  received = [];
  server = createServer((socket) => {
    socket.on("error", () => {});
    socket.setEncoding("utf8").on("data", (text: string) => {
      received.push(text);
      socket.write(`re:${text}`);
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  proxy = await faultProxy({ host: "127.0.0.1", port });
});

afterEach(async () => {
  await proxy.close();
  await new Promise((resolve) => server.close(resolve));
});

async function client(): Promise<Socket> {
  const socket = connect(proxy.port, proxy.host).setEncoding("utf8");
  socket.on("error", () => {});
  await once(socket, "connect");
  return socket;
}

async function ask(socket: Socket, text: string): Promise<string> {
  const answer = once(socket, "data");
  socket.write(text);
  return (await answer)[0];
}

test("a healthy relay passes everything", async () => {
  expect(await ask(await client(), "one")).toBe("re:one");
});

test("frozen answers are kept back, while the request has arrived, and healed ones are passed", async () => {
  const socket = await client();
  await ask(socket, "one");
  proxy.freezeAnswers();
  const answer = once(socket, "data");
  socket.write("two");
  await expect.poll(() => received).toEqual(["one", "two"]);
  proxy.heal();
  expect((await answer)[0]).toBe("re:two");
});

test("cut at the next answer: the request arrived, its answer did not, and the next connection works", async () => {
  const socket = await client();
  proxy.cutAtNextAnswer();
  socket.write("one");
  await once(socket, "close");
  expect(received).toEqual(["one"]);
  expect(await ask(await client(), "two")).toBe("re:two");
});

test("refusing cuts all and lets nobody in until it is healed", async () => {
  const socket = await client();
  await ask(socket, "one");
  proxy.refuse();
  await once(socket, "close");
  const refused = await client();
  await once(refused, "close");
  proxy.heal();
  expect(await ask(await client(), "two")).toBe("re:two");
});
