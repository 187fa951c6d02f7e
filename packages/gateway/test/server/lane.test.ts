import { buildConnector } from "undici";
import { describe, expect, onTestFinished, test } from "vitest";
import type { AnswerSink, UpstreamFailure } from "../../src/upstream/call.js";
import { Lane } from "../../src/upstream/lane.js";
import { until } from "./support/client.js";
import { rawUpstream, upstream } from "./support/upstream.js";

const NOTHING: AnswerSink = {
  onHead: () => true,
  onChunk: () => true,
  onEnd: () => undefined,
  onFailure: () => undefined,
};

function lane(origin: string, maxIdleMs: number, faults: Error[] = []): Lane {
  const made = new Lane({
    origin,
    serverName: "-",
    maxIdleMs,
    maxHeaders: 100,
    client: { keepAliveTimeout: 60_000, keepAliveMaxTimeout: 60_000 },
    connect: buildConnector({ timeout: 1_000 }),
    onFault: (error) => void faults.push(error),
  });
  onTestFinished(() => made.destroy());
  return made;
}

function get(through: Lane, sink: Partial<AnswerSink> = {}): Promise<UpstreamFailure | null> {
  return new Promise((resolve) => {
    const answer = {
      ...NOTHING,
      onEnd: () => resolve(null),
      onFailure: (failure: UpstreamFailure) => resolve(failure),
      ...sink,
    };
    through.dispatch({ method: "GET", path: "/" }, answer);
  });
}

describe("SPEC §4.9: the age of a connection", () => {
  test("is looked at when it is picked: an old one is closed, and its fellows with it", async () => {
    const behind = await upstream();
    const through = lane(behind.url, 100);
    await Promise.all([get(through), get(through), get(through)]);
    await get(through);
    expect(behind.seen[3]?.connection).toBeLessThan(3);
    await new Promise((resolve) => setTimeout(resolve, 150));
    await get(through);
    expect(behind.seen[4]?.connection).toBe(3);
    await until(() => new Promise((resolve) => behind.server.getConnections((_, count) => resolve(count === 1))));
  });

  test("is looked at again right before the first byte: a loop that was blocked in between sends it on a new one", async () => {
    const behind = await upstream();
    const through = lane(behind.url, 100);
    await get(through);
    const second = get(through);
    // undici waits for one turn of the loop before it uses an idle connection again.
    const blockedUntil = performance.now() + 200;
    while (performance.now() < blockedUntil);
    expect(await second).toBeNull();
    expect(behind.seen.map(({ connection }) => connection)).toEqual([0, 1]);
  });
});

test("a request that is given up before it is sent is not sent, and says so", async () => {
  const behind = await upstream();
  const through = lane(behind.url, 100);
  const failure = await new Promise<UpstreamFailure>((resolve) => {
    const call = through.dispatch({ method: "GET", path: "/" }, { ...NOTHING, onFailure: resolve });
    call.abort(new Error("no longer wanted"));
  });
  expect(failure.sent).toBe(false);
  expect(behind.seen).toHaveLength(0);
});

test("a fault in handling a failure is reported, and does not end the process", async () => {
  const behind = await rawUpstream((socket) => socket.destroy());
  const faults: Error[] = [];
  const through = lane(behind.url, 100, faults);
  through.dispatch(
    { method: "GET", path: "/" },
    {
      ...NOTHING,
      onFailure: () => {
        throw new Error("ours");
      },
    },
  );
  await until(() => faults.length > 0);
  expect(faults[0]?.message).toBe("ours");
});
