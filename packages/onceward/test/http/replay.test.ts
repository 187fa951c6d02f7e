// Replays: what is recorded, how, and what a duplicate's answer has that the first had not (SPEC §5.1-5.4, §5.7).

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { HeaderList } from "../../src/http/message.js";
import {
  connectionNamed,
  decodeResponse,
  encodeResponse,
  isHopByHop,
  markReplayed,
  type RecordedResponse,
  recordableHeaders,
  withContentLength,
} from "../../src/http/replay.js";

const NONE = new Uint8Array(0);
const corrupt = expect.objectContaining({ code: "store_corrupt" });

function roundTrip(response: RecordedResponse): RecordedResponse {
  return decodeResponse(response.status, encodeResponse(response));
}

const byteString = fc.string({ unit: fc.integer({ min: 0, max: 0xff }).map((code) => String.fromCharCode(code)) });
const recorded = fc.record({
  status: fc.integer({ min: 100, max: 999 }),
  headers: fc.array(fc.tuple(byteString, byteString), { maxLength: 8 }),
  body: fc.option(fc.uint8Array({ maxLength: 300 })),
});

describe("§5.1 the recorded form", () => {
  test("every response comes back as it was, byte for byte, repeated headers in order", () => {
    fc.assert(
      fc.property(recorded, (response) => {
        expect(roundTrip(response)).toEqual(response);
      }),
    );
  });

  test.each<[string, RecordedResponse]>([
    ["204", { status: 204, headers: [], body: NONE }],
    ["a body that was not kept", { status: 200, headers: [["A", "b"]], body: null }],
    ["a header of 70,000 bytes", { status: 200, headers: [["A", "\u00ff".repeat(70_000)]], body: NONE }],
    ["bytes that windows-1252 changes", { status: 200, headers: [["A", "\u0080\u0091\u009f"]], body: NONE }],
    [
      "300 headers of one name",
      {
        status: 200,
        headers: Array.from({ length: 300 }, (_, index): [string, string] => ["Set-Cookie", `c=${index}`]),
        body: NONE,
      },
    ],
  ])("%s", (_what, response) => {
    expect(roundTrip(response)).toEqual(response);
  });

  test("a body of 1 MiB", () => {
    const kept = roundTrip({
      status: 200,
      headers: [],
      body: new Uint8Array(1_048_576).fill(7),
    }).body;
    expect(kept?.length).toBe(1_048_576);
    expect(kept?.every((byte) => byte === 7)).toBe(true);
  });

  test("a payload inside a larger buffer is read from its own part, and the body is no Buffer", () => {
    const payload = encodeResponse({
      status: 200,
      headers: [["A", "b"]],
      body: Uint8Array.of(1, 2, 3),
    });
    const pool = Buffer.alloc(payload.length + 20, 9);
    pool.set(payload, 10);
    const { body } = decodeResponse(200, pool.subarray(10, 10 + payload.length));
    expect(body).toEqual(Uint8Array.of(1, 2, 3));
    expect(Buffer.isBuffer(body)).toBe(false);
  });

  test("the first bytes are the version and the flags, and the form stays compact", () => {
    const payload = encodeResponse({ status: 200, headers: [["A", "bc"]], body: Uint8Array.of(1) });
    expect([...payload]).toEqual([1, 1, 1, 1, 0x41, 2, 0x62, 0x63, 1, 1]);
  });

  test("a header that no HTTP message can carry is refused", () => {
    expect(() => encodeResponse({ status: 200, headers: [["A", "\u20ac"]], body: NONE })).toThrow(TypeError);
  });

  test("garbage is store_corrupt: every cut, every addition, other versions and flags", () => {
    const payload = encodeResponse({ status: 200, headers: [["A", "b"]], body: Uint8Array.of(1, 2) });
    for (let end = 0; end < payload.length; end += 1) {
      expect(() => decodeResponse(200, payload.subarray(0, end))).toThrow(corrupt);
    }
    expect(() => decodeResponse(200, Uint8Array.of(...payload, 0))).toThrow(corrupt);
    expect(() => decodeResponse(200, payload.with(0, 2))).toThrow(corrupt);
    expect(() => decodeResponse(200, payload.with(1, 2))).toThrow(corrupt);
    expect(() => decodeResponse(200, Uint8Array.of(1, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff))).toThrow(corrupt);
    expect(() => decodeResponse(200, Uint8Array.of(1, 0, 0xff, 0xff, 0xff, 0xff, 0x7f))).toThrow(corrupt);
    for (const status of [0, 99, 1000, 200.5, Number.NaN])
      expect(() => decodeResponse(status, payload)).toThrow(corrupt);
  });

  test("no bytes make it throw anything else", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
        const payload = bytes.length > 2 ? bytes.with(0, 1).with(1, (bytes[1] ?? 0) % 4) : bytes;
        try {
          decodeResponse(200, payload);
        } catch (error) {
          expect(error).toEqual(corrupt);
        }
      }),
      { numRuns: 5_000 },
    );
  });
});

describe("§5.2, §5.7 what is recorded of the headers", () => {
  const headers: HeaderList = [
    ["Content-Type", "text/plain"],
    ["Connection", "close, X-Hop"],
    ["connection", " x-other ,"],
    ["X-Hop", "1"],
    ["x-OTHER", "2"],
    ["Keep-Alive", "timeout=5"],
    ["Proxy-Connection", "close"],
    ["Proxy-Authenticate", "Basic"],
    ["Proxy-Authorization", "x"],
    ["TE", "trailers"],
    ["Trailer", "X-T"],
    ["Transfer-Encoding", "chunked"],
    ["Upgrade", "h2c"],
    ["Content-Length", "3"],
    ["Onceward-Outcome", "final"],
    ["ONCEWARD-X", "y"],
    ["Date", "Sun, 01 Jun 2025 12:00:00 GMT"],
    ["Set-Cookie", "a=1"],
    ["Set-Cookie", "b=2"],
    ["Vary", "A"],
    ["vary", "B"],
    ["Location", "/v1/transfers/1"],
  ];
  const ends: HeaderList = [
    ["Vary", "A"],
    ["vary", "B"],
    ["Location", "/v1/transfers/1"],
  ];

  test("neither what is of the connection or named by it, nor lengths, nor Onceward-*, nor Date and Set-Cookie", () => {
    const kept = recordableHeaders(headers, { keepSetCookie: false, keepDate: false });
    expect(kept).toEqual([["Content-Type", "text/plain"], ...ends]);
  });

  test("Date and Set-Cookie where the policy keeps them", () => {
    const kept = recordableHeaders(headers, { keepSetCookie: true, keepDate: true });
    expect(kept).toEqual([headers[0], headers[16], headers[17], headers[18], ...ends]);
  });

  test("what Connection names is known in lower case, and hop-by-hop fields are", () => {
    expect([...connectionNamed(headers)]).toEqual(["close", "x-hop", "x-other"]);
    expect(connectionNamed([]).size).toBe(0);
    expect(isHopByHop("te")).toBe(true);
    expect(isHopByHop("content-encoding")).toBe(false);
  });
});

describe("§5.3 the marker of a replay", () => {
  const MARKER = "Idempotent-Replayed";
  const cors: HeaderList = [["Access-Control-Allow-Origin", "https://shop.example"]];
  const expose = (value: string): HeaderList => [...cors, ["access-control-expose-headers", value]];

  test("it is added, in place of one of the operation's own, and false adds nothing", () => {
    expect(markReplayed([["A", "b"]], MARKER)).toEqual([
      ["A", "b"],
      [MARKER, "true"],
    ]);
    expect(markReplayed([["idempotent-replayed", "no"]], MARKER)).toEqual([[MARKER, "true"]]);
    const same: HeaderList = [["A", "b"], ...cors];
    expect(markReplayed(same, false)).toBe(same);
    expect(markReplayed([], "X-Replay")).toEqual([["X-Replay", "true"]]);
  });

  test("where the answer is for other origins, it is exposed to them", () => {
    expect(markReplayed(cors, MARKER)).toEqual([...cors, [MARKER, "true"], ["Access-Control-Expose-Headers", MARKER]]);
  });

  test.each([
    ["X-A, Location", "X-A, Location, Idempotent-Replayed"],
    ["", "Idempotent-Replayed"],
    ["idempotent-REPLAYED", "idempotent-REPLAYED"],
    ["X-A ,Idempotent-Replayed", "X-A ,Idempotent-Replayed"],
    ["*", "*"],
    ["X-A, *", "X-A, *"],
  ])("to the list %j, once: %j", (before, after) => {
    expect(markReplayed(expose(before), MARKER)).toEqual([...expose(after), [MARKER, "true"]]);
  });

  test("with credentials * is no wildcard, so the marker is named beside it", () => {
    const headers: HeaderList = [...expose("*"), ["Access-Control-Allow-Credentials", "true"]];
    expect(markReplayed(headers, MARKER)[1]).toEqual(["access-control-expose-headers", "*, Idempotent-Replayed"]);
  });

  test("of several lists one is extended", () => {
    const headers: HeaderList = [...expose("X-A"), ["Access-Control-Expose-Headers", "X-B"]];
    expect(markReplayed(headers, MARKER)).toEqual([
      ...expose("X-A"),
      ["Access-Control-Expose-Headers", "X-B, Idempotent-Replayed"],
      [MARKER, "true"],
    ]);
  });
});

describe("§5.2 Content-Length is computed anew", () => {
  const body = Uint8Array.of(1, 2, 3);

  test("in place of any other framing", () => {
    const headers: HeaderList = [
      ["content-length", "9"],
      ["Transfer-Encoding", "chunked"],
      ["A", "b"],
    ];
    expect(withContentLength({ status: 200, headers, body })).toEqual({
      status: 200,
      headers: [
        ["A", "b"],
        ["Content-Length", "3"],
      ],
      body,
    });
    expect(withContentLength({ status: 201, headers: [], body: NONE }).headers).toEqual([["Content-Length", "0"]]);
  });

  test.each([
    [204, "POST"],
    [304, "GET"],
    [200, "HEAD"],
  ])("a %d to %s has none, and no body", (status, method) => {
    const headers: HeaderList = [["Content-Length", "3"]];
    expect(withContentLength({ status, headers, body }, method)).toEqual({ status, headers: [], body: NONE });
  });
});
