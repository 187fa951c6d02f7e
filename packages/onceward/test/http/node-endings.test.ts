// How requests end on Node when something is in the way: a client that leaves, a handler that breaks off, an answer too large.

import { once } from "node:events";
import type { ServerResponse } from "node:http";
import { Readable } from "node:stream";
import { describe, expect, it } from "vitest";
import type { RunFlag } from "../../src/core/history.js";
import { exchange, type Guarded, guarded, post, raw, unmarked, until } from "./node-kit.js";

/** A promise that is settled from outside. */
function gate(): { readonly opened: Promise<void>; open(): void } {
  let open = (): void => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}

/** Flags of the first run, as the history shows them in the end. */
async function flagsOf({ store }: Guarded, wanted: RunFlag): Promise<readonly RunFlag[]> {
  return until(async () => {
    const runs = (await store.history?.listRuns({ limit: 10 }))?.items ?? [];
    const flags = runs.at(-1)?.flags ?? [];
    return flags.includes(wanted) && flags;
  });
}

const LARGE = 3 * 1_048_576;

describe("4.7 a client that goes away", () => {
  const ways: Readonly<Record<string, (response: ServerResponse) => void | Promise<void>>> = {
    "in one piece": (response) => void response.end("done"),
    "in pieces": async (response) => {
      response.write("do");
      await new Promise((resolve) => setTimeout(resolve, 5));
      response.end("ne");
    },
    "by a pipe": (response) => void Readable.from(["do", "ne"]).pipe(response),
    "by a pipe that listens to the connection": (response) => {
      // As on-finished does, by which `send` and Koa stop an answer.
      const source = Readable.from(["do", "ne"]);
      response.socket?.once("close", () => source.destroy());
      source.pipe(response);
    },
    "only where the connection is seen to be open": (response) => {
      if (response.destroyed || response.socket?.destroyed !== false || !response.socket.writable) return;
      response.end("done");
    },
  };
  for (const [how, answer] of Object.entries(ways)) {
    for (const leave of ["end", "reset"] as const) {
      it(`by ${leave === "end" ? "an end" : "a reset"} of its connection: what is answered ${how} is recorded`, async () => {
        const working = gate();
        const guard = await guarded(async (_request, response) => {
          await working.opened;
          await answer(response);
        });
        const client = raw(guard.port, post("k", "", []));
        await until(async () => (await guard.state()) === "running");
        if (leave === "end") client.socket.destroy();
        else client.socket.resetAndDestroy();
        await client.closed;
        await new Promise((resolve) => setTimeout(resolve, 20));
        working.open();
        await until(async () => (await guard.state()) === "done");
        expect(await exchange(guard.port, post("k"))).toMatch(/Idempotent-Replayed: true[\s\S]*\r\n\r\ndone$/);
        expect(await flagsOf(guard, "CLIENT_GONE")).toContain("CLIENT_GONE");
      });
    }
  }

  it("in the middle of an answer: its rest is recorded too", async () => {
    const half = gate();
    const rest = gate();
    const guard = await guarded(async (_request, response) => {
      response.write("first ");
      half.open();
      await rest.opened;
      response.end("second");
    });
    const client = raw(guard.port, post("k", "", []));
    await half.opened;
    client.socket.destroy();
    await new Promise((resolve) => setTimeout(resolve, 20));
    rest.open();
    await until(async () => (await guard.state()) === "done");
    expect(await exchange(guard.port, post("k"))).toMatch(/\r\n\r\nfirst second$/);
  });

  it("before the body is read by its parser: the parser gets it all the same", async () => {
    const parsing = gate();
    const guard = await guarded(async (request, response) => {
      await parsing.opened;
      let body = "";
      for await (const chunk of request) body += chunk;
      response.end(`got ${body}`);
    });
    const client = raw(guard.port, post("k", "hello", []));
    await until(async () => (await guard.state()) === "running");
    client.socket.destroy();
    await new Promise((resolve) => setTimeout(resolve, 20));
    parsing.open();
    await until(async () => (await guard.state()) === "done");
    expect(await exchange(guard.port, post("k", "hello"))).toMatch(/\r\n\r\ngot hello$/);
  });

  it("is told of in the end, and not before", async () => {
    const told: string[] = [];
    const working = gate();
    const guard = await guarded(async (request, response) => {
      request.on("aborted", () => told.push("aborted"));
      request.socket.on("close", () => told.push("socket"));
      response.on("close", () => told.push("close")).on("finish", () => told.push("finish"));
      await working.opened;
      told.push("answered");
      response.end("a");
    });
    const client = raw(guard.port, post("k", "x", []));
    await until(async () => (await guard.state()) === "running");
    client.socket.destroy();
    await new Promise((resolve) => setTimeout(resolve, 20));
    working.open();
    await until(() => told.includes("close") && told.includes("socket"));
    expect(told[0]).toBe("answered");
    expect(told).not.toContain("finish");
    expect(await guard.state()).toBe("done");
  });

  it("while its upload is under way: nothing is claimed, and nothing runs", async () => {
    let runs = 0;
    const guard = await guarded((_request, response) => {
      runs++;
      response.end();
    });
    const head = post("k", "0123456789", []).slice(0, -5);
    const client = raw(guard.port, head);
    await new Promise((resolve) => setTimeout(resolve, 20));
    client.socket.destroy();
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect([runs, await guard.state()]).toEqual([0, ""]);
    expect(await exchange(guard.port, post("k", "0123456789"))).toMatch(/^HTTP\/1\.1 200/);
  });
});

describe("an answer that is broken off", () => {
  const ways: Readonly<Record<string, (response: ServerResponse) => void>> = {
    "by destroying the response": (response) => response.destroy(),
    "by destroying it with an error": (response) => response.destroy(new Error("boom")),
    "by a source that fails": (response) => {
      const source = new Readable({ read() {} });
      source.push("half");
      source.on("error", (error) => response.destroy(error)).pipe(response);
      setTimeout(() => source.destroy(new Error("boom")), 5);
    },
  };
  for (const [how, breakOff] of Object.entries(ways)) {
    it(`4.9 ${how}: its outcome is unknown, and its client and every duplicate are told so`, async () => {
      const guard = await guarded((_request, response) => {
        response.write("ha");
        breakOff(response);
      });
      const first = await exchange(guard.port, post("k"));
      expect(first).toMatch(/^HTTP\/1\.1 500 [\s\S]*"code":"outcome_unknown"/);
      expect(await guard.state()).toBe("unknown");
      expect(await exchange(guard.port, post("k"))).toMatch(/"code":"outcome_unknown"/);
    });
  }

  const takingOver: Readonly<Record<string, (response: ServerResponse) => void>> = {
    "destroying the connection": (response) => void response.socket?.destroy(),
    "destroying the connection of the request": (response) => void response.req.socket.destroy(),
    "writing to the connection itself": (response) =>
      void response.socket?.end("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhijack"),
  };
  for (const [how, takeOver] of Object.entries(takingOver)) {
    it(`4.9 by ${how}: its outcome is unknown`, async () => {
      const guard = await guarded((_request, response) => takeOver(response));
      const first = await exchange(guard.port, post("k"));
      expect(first).toMatch(/^$|hijack$/);
      await until(async () => (await guard.state()) === "unknown");
      expect(await exchange(guard.port, post("k"))).toMatch(/"code":"outcome_unknown"/);
    });
  }

  it("4.8 what the listener throws is answered, and the answer recorded", async () => {
    const guard = await guarded(() => {
      throw new Error("boom");
    });
    const first = await exchange(guard.port, post("k"));
    expect(first).toMatch(/^HTTP\/1\.1 500 [\s\S]*\r\n\r\nfailed$/);
    expect(unmarked(await exchange(guard.port, post("k")))).toBe(first);
  });

  it("4.9 what it throws in the middle of an answer leaves the outcome unknown", async () => {
    const guard = await guarded((_request, response) => {
      response.write("half");
      throw new Error("boom");
    });
    expect(await exchange(guard.port, post("k"))).toMatch(/"code":"outcome_unknown"/);
    expect(await guard.state()).toBe("unknown");
  });

  it("P5 a connection that is closed here, before any answer, leaves the key in use for a lease at most", async () => {
    const guard = await guarded(() => {}, { lease: 200 });
    const client = raw(guard.port, post("k"));
    await until(async () => (await guard.state()) === "running");
    guard.server.closeAllConnections();
    await client.closed;
    await until(async () => (await guard.state()) === "unknown");
  });

  it("4.7 a connection that is closed here loses no answer that comes within a lease", async () => {
    const working = gate();
    const guard = await guarded(async (_request, response) => {
      await working.opened;
      response.end("late");
    });
    const client = raw(guard.port, post("k"));
    await until(async () => (await guard.state()) === "running");
    guard.server.closeAllConnections();
    await client.closed;
    working.open();
    await until(async () => (await guard.state()) === "done");
    expect(await exchange(guard.port, post("k"))).toMatch(/\r\n\r\nlate$/);
  });
});

describe("5.4 an answer that is not kept", () => {
  it("is passed on whole, with its length, and a duplicate is told so", async () => {
    const body = Buffer.alloc(LARGE, "x");
    const guard = await guarded((_request, response) => {
      response.writeHead(200, { "Content-Length": body.length, "X-A": "1" });
      response.end(body);
    });
    const first = await exchange(guard.port, post("k"));
    expect(first).toMatch(new RegExp(`^HTTP/1\\.1 200 OK\\r\\nX-A: 1\\r\\nContent-Length: ${LARGE}\\r\\n`));
    expect(first.length - first.indexOf("\r\n\r\n") - 4).toBe(LARGE);
    expect(await exchange(guard.port, post("k"))).toMatch(/"code":"response_not_kept"/);
  });

  it("flows no faster than its client reads, and its source is told when to go on", async () => {
    let made = 0;
    const guard = await guarded((_request, response) => {
      const source = Readable.from(
        (function* () {
          while (made < 64 * 1_048_576) {
            made += 65_536;
            yield Buffer.alloc(65_536, "x");
          }
        })(),
      );
      source.pipe(response);
    });
    const client = raw(guard.port, post("k", "", []));
    client.socket.pause();
    let before = -1;
    await until(async () => {
      const now = made;
      await new Promise((resolve) => setTimeout(resolve, 50));
      const still = now === before && now > 0;
      before = now;
      return still;
    });
    expect(made).toBeLessThan(32 * 1_048_576);
    client.socket.resume();
    await until(() => made >= 64 * 1_048_576);
  });

  it("of a streaming type is passed on piece by piece", async () => {
    const second = gate();
    const guard = await guarded(async (_request, response) => {
      response.writeHead(200, { "Content-Type": "text/event-stream; charset=utf-8" });
      response.flushHeaders();
      response.write("data: 1\n\n");
      await second.opened;
      response.end("data: 2\n\n");
    });
    const client = raw(guard.port, post("k"));
    await client.until(/data: 1\n\n/);
    expect(await guard.state()).toBe("done");
    second.open();
    expect(await client.closed).toMatch(/data: 2\n\n/);
  });

  it("whose client goes away is finished", async () => {
    let made = 0;
    const guard = await guarded((_request, response) => {
      Readable.from(
        (async function* () {
          for (; made < 16; made++) {
            await new Promise((resolve) => setTimeout(resolve, 2));
            yield Buffer.alloc(1_048_576);
          }
        })(),
      ).pipe(response);
    });
    const client = raw(guard.port, post("k", "", []));
    await client.until(/200 OK/);
    client.socket.destroy();
    await until(() => made === 16);
    expect(await flagsOf(guard, "CLIENT_GONE")).not.toContain("TRUNCATED");
  });

  it("that breaks off is done, and flagged as truncated; its client sees that it is cut off", async () => {
    const guard = await guarded((_request, response) => {
      response.write(Buffer.alloc(LARGE));
      response.once("drain", () => response.destroy());
    });
    const answer = await raw(guard.port, post("k", "", [])).closed;
    expect(answer).not.toMatch(/\r\n0\r\n\r\n$/);
    expect(await flagsOf(guard, "TRUNCATED")).toContain("TRUNCATED");
    expect(await exchange(guard.port, post("k"))).toMatch(/"code":"response_not_kept"/);
  });

  it("4.5 may say of its operation that nothing has started", async () => {
    const guard = await guarded((_request, response, claim) => {
      claim.notStarted();
      response.end(Buffer.alloc(LARGE));
    });
    expect(await exchange(guard.port, post("k"))).toMatch(/^HTTP\/1\.1 200/);
    expect(await guard.state()).toBe("");
  });
});

describe("5.4 memory for answers", () => {
  it("is bounded in all, and given back", async () => {
    const half = 700 * 1_024;
    const first = gate();
    const guard = await guarded(
      async (request, response) => {
        response.write(Buffer.alloc(half));
        if (request.headers["idempotency-key"] === "1") await first.opened;
        response.end();
      },
      { maxBuffer: "1MiB" },
    );
    const client = raw(guard.port, post("1"));
    await until(async () => (await guard.state()) === "running");
    await exchange(guard.port, post("2"));
    // While the first is held there is no room for the second, so it is passed on.
    expect(await exchange(guard.port, post("2"))).toMatch(/"code":"response_not_kept"/);
    first.open();
    await client.closed;
    await exchange(guard.port, post("3"));
    expect(await exchange(guard.port, post("3"))).toMatch(/Idempotent-Replayed: true/);
  });
});

it("4.4 the client gets no byte of an answer before it is recorded", async () => {
  const recording = gate();
  const guard = await guarded((_request, response) => void response.end("a"));
  const { store } = guard;
  const complete = store.complete.bind(store);
  let asked = false;
  store.complete = async (...values: Parameters<typeof complete>) => {
    asked = true;
    await recording.opened;
    return complete(...values);
  };
  const client = raw(guard.port, post("k"));
  await until(() => asked);
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect(client.received()).toBe("");
  recording.open();
  await once(client.socket, "data");
});
