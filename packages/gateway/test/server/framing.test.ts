import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";
import { missing } from "../tools.js";
import { exchange, post, raw, send, until } from "./support/client.js";
import { gateway } from "./support/gateway.js";
import { rawUpstream, upstream } from "./support/upstream.js";

const curl = promisify(execFile);
const H = "Host: a\r\n";

const refused: readonly (readonly [string, number, string])[] = [
  ["both framings", 400, `POST /pay HTTP/1.1\r\n${H}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`],
  [
    "both framings, the other way round",
    400,
    `POST /pay HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n`,
  ],
  ["two lengths", 400, `POST /pay HTTP/1.1\r\n${H}Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd`],
  ["two equal lengths", 400, `POST /pay HTTP/1.1\r\n${H}Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc`],
  ["a list of lengths", 400, `POST /pay HTTP/1.1\r\n${H}Content-Length: 3, 3\r\n\r\nabc`],
  ["a signed length", 400, `POST /pay HTTP/1.1\r\n${H}Content-Length: +3\r\n\r\nabc`],
  ["a space before the colon", 400, `POST /pay HTTP/1.1\r\n${H}Content-Length : 3\r\n\r\nabc`],
  ["a folded line", 400, `GET /pay HTTP/1.1\r\n${H}X: a\r\n b\r\n\r\n`],
  ["a bare line feed", 400, "GET /pay HTTP/1.1\nHost: a\n\n"],
  ["a control character", 400, `GET /pay HTTP/1.1\r\n${H}X: a\x01b\r\n\r\n`],
  ["a NUL", 400, `GET /pay HTTP/1.1\r\n${H}X: a\x00b\r\n\r\n`],
  ["two hosts", 400, `GET /pay HTTP/1.1\r\n${H}Host: b\r\n\r\n`],
  ["no host", 400, "GET /pay HTTP/1.1\r\n\r\n"],
  ["a host that is none", 400, 'GET /pay HTTP/1.1\r\nHost: a"b\r\n\r\n'],
  ["another transfer coding", 501, `POST /pay HTTP/1.1\r\n${H}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n`],
  [
    "chunked twice",
    400,
    `POST /pay HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
  ],
  ["chunked in HTTP/1.0", 400, `POST /pay HTTP/1.0\r\n${H}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n`],
  ["another version", 505, `GET /pay HTTP/2.0\r\n${H}\r\n`],
  ["CONNECT", 501, "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n"],
  ["a fragment", 400, `GET /pay#x HTTP/1.1\r\n${H}\r\n`],
  ["an encoded slash", 400, `GET /a%2fpay HTTP/1.1\r\n${H}\r\n`],
  ["another scheme", 400, `GET ftp://a/pay HTTP/1.1\r\n${H}\r\n`],
  ["* of another method than OPTIONS", 400, `GET * HTTP/1.1\r\n${H}\r\n`],
  ["no HTTP at all", 400, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"],
  ["too many fields", 431, `GET /pay HTTP/1.1\r\n${H}${"A: b\r\n".repeat(201)}\r\n`],
  ["too large a head", 431, `GET /pay HTTP/1.1\r\n${H}A: ${"b".repeat(20_000)}\r\n\r\n`],
];

describe("what can be read in two ways is refused (issue 2, smuggling)", () => {
  test.each(refused)("%s: %i, the connection closes, and nothing reaches the upstream", async (_, status, bytes) => {
    const behind = await rawUpstream((socket) => void socket.end("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
    const { port } = await gateway({ upstream: behind.url });
    // A second request follows in the same bytes, as a smuggled one would.
    const text = await exchange(port, `${bytes}GET /smuggled HTTP/1.1\r\n${H}\r\n`);
    expect(text).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
    expect(text.match(/HTTP\/1\.1 \d/g)).toHaveLength(1);
    expect(behind.received()).toBe("");
    if (!text.includes("Content-Length: 0") && text.includes("{")) expect(text).toContain('"code":"request_invalid"');
  });

  test("a chunk size with a malformed extension in a keyed body: 400, and nothing is claimed", async () => {
    const behind = await upstream();
    const { port } = await gateway({ upstream: behind.url });
    const text = await exchange(
      port,
      `POST /pay HTTP/1.1\r\n${H}Idempotency-Key: k\r\nTransfer-Encoding: chunked\r\n\r\n1;a\nX\r\n0\r\n\r\n`,
    );
    expect(text).toMatch(/^HTTP\/1\.1 400 /);
    expect(behind.seen).toHaveLength(0);
    expect((await post(port, "k")).header("Idempotent-Replayed")).toBeUndefined();
  });

  test("garbage behind a request whose answer is under way is not answered in its place", async () => {
    const behind = await upstream((_, response) => void setTimeout(() => response.end("slow"), 200));
    const { port } = await gateway({ upstream: behind.url });
    const client = raw(port);
    client.write(`GET /a HTTP/1.1\r\n${H}\r\n`);
    await until(() => behind.seen.length === 1);
    client.write("garbage\r\n\r\n");
    expect(await client.closed()).not.toContain("400");
  });

  test("a head that does not come in time is closed", async () => {
    const { port } = await gateway({ upstream: (await upstream()).url, timeouts: { headers: "500ms" } });
    const client = raw(port);
    client.write("GET / HTTP/1.1\r\nHost:");
    expect(await client.closed()).toMatch(/^HTTP\/1\.1 408 /);
  });
});

describe("SPEC §5.8: what is matched is what the upstream sees", () => {
  test.each([
    ["/v1/./pay", "/v1/pay"],
    ["/v1/x/../pay", "/v1/pay"],
    ["//v1//pay", "/v1/pay"],
    ["/v1/%70ay?a=%2F..&b", "/v1/pay?a=%2F..&b"],
    ["http://b.example/v1/pay?x", "/v1/pay?x"],
    ["/v1/pay?", "/v1/pay?"],
    ["/v1/p%c3%a4y", "/v1/p%C3%A4y"],
  ])("%s", async (target, seen) => {
    const behind = await upstream();
    const { port } = await gateway({ upstream: behind.url });
    const text = await exchange(port, `POST ${target} HTTP/1.1\r\n${H}Connection: close\r\nContent-Length: 0\r\n\r\n`);
    expect(text).toMatch(/^HTTP\/1\.1 200 /);
    expect(behind.seen[0]?.url).toBe(seen);
  });

  test("no spelling of a path escapes its policy", async () => {
    const behind = await upstream();
    const routes = [
      { match: "POST /v1/transfers", required: true },
      { match: "/**", enabled: false },
    ];
    const { port } = await gateway({ upstream: behind.url, routes });
    for (const path of [
      "/v1/transfers",
      "/v1//transfers",
      "/v1/./transfers",
      "/x/../v1/transfers",
      "/v1/%74ransfers",
      "/v1/transfers/",
      "/v1/transfers;a=b",
    ]) {
      expect((await send(port, { method: "POST", path })).json().code).toBe("key_missing");
    }
    expect((await send(port, { method: "POST", path: "/v1/other" })).status).toBe(200);
    expect(behind.seen).toHaveLength(1);
  });

  test("OPTIONS * is answered by the gateway itself", async () => {
    const behind = await upstream();
    const { port } = await gateway({ upstream: behind.url });
    expect(await exchange(port, `OPTIONS * HTTP/1.1\r\n${H}Connection: close\r\n\r\n`)).toMatch(/^HTTP\/1\.1 204 /);
    expect(behind.seen).toHaveLength(0);
  });

  test("an upstream with a path of its own", async () => {
    const behind = await upstream();
    const { port } = await gateway({ upstream: `${behind.url}/api/` });
    await send(port, { path: "/x?y" });
    expect(behind.seen[0]?.url).toBe("/api/x?y");
  });
});

describe("SPEC §5.7: fields of the connection", () => {
  test("go no further, nor those that Connection names, but for what a policy rests on; Onceward-* neither way", async () => {
    const behind = await upstream((_, response) => {
      response.writeHead(200, [
        "Connection",
        "close, X-Hop",
        "X-Hop",
        "1",
        "Keep-Alive",
        "timeout=1",
        "Proxy-Authenticate",
        "Basic",
        "Onceward-Secret",
        "1",
        "X-Own",
        "2",
      ]);
      response.end("x");
    });
    const { port } = await gateway({ upstream: behind.url });
    const connection = "X-Drop, Idempotency-Key, Authorization, close";
    const text = await exchange(
      port,
      `POST /pay HTTP/1.1\r\n${H}Connection: ${connection}\r\nX-Drop: 1\r\nX-Keep: 2\r\nX-Keep: 3\r\nIdempotency-Key: k\r\nAuthorization: b\r\nOnceward-Outcome: final\r\nProxy-Authorization: p\r\nTE: gzip\r\nTrailer: X\r\nContent-Length: 0\r\n\r\n`,
    );
    const { headers } = behind.seen[0]!;
    expect(Object.keys(headers).sort()).toEqual([
      "authorization",
      "connection",
      "content-length",
      "forwarded",
      "host",
      "idempotency-key",
      "via",
      "x-forwarded-for",
      "x-forwarded-host",
      "x-forwarded-proto",
      "x-keep",
    ]);
    expect(headers["x-keep"]).toBe("2, 3");
    expect(text).toContain("X-Own: 2");
    expect(text).not.toMatch(/X-Hop|Onceward|Proxy-Authenticate|timeout=1\b/);
  });

  test("forwardKey: false keeps the key to the gateway", async () => {
    const behind = await upstream();
    const { port } = await gateway({ upstream: behind.url, forwardKey: false });
    await post(port, "k");
    expect(behind.seen[0]?.headers["idempotency-key"]).toBeUndefined();
  });

  test("the key, repeated fields and latin1 values reach the upstream as they came", async () => {
    const behind = await upstream();
    const { port } = await gateway({ upstream: behind.url });
    await exchange(
      port,
      `POST /pay HTTP/1.1\r\n${H}idempotency-KEY: "k, \\"1\\""\r\nx-a: 1\r\nX-A: 2\r\nX-N: Zo\xeb\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`,
    );
    const { rawHeaders } = behind.seen[0]!;
    expect(rawHeaders.join("|")).toContain('idempotency-KEY|"k, \\"1\\""|x-a|1|X-A|2|X-N|Zo\xeb');
  });

  test("answers to keyed requests carry no 1xx and no trailers", async () => {
    const behind = await rawUpstream((socket) => {
      socket.write("HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n");
      socket.write(
        "HTTP/1.1 200 OK\r\nTrailer: X-T\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX-T: 1\r\n\r\n",
      );
    });
    const { port } = await gateway({ upstream: behind.url });
    const text = await exchange(
      port,
      `POST /pay HTTP/1.1\r\n${H}Idempotency-Key: k\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`,
    );
    expect(text).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
    expect(text).toContain("Content-Length: 1\r\n");
    expect(text).not.toMatch(/Early|X-T|chunked/);
  });

  test("others do", async () => {
    const behind = await rawUpstream((socket) => {
      socket.write("HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n");
      socket.write(
        "HTTP/1.1 200 OK\r\nTrailer: X-T\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX-T: 1\r\n\r\n",
      );
    });
    const { port } = await gateway({ upstream: behind.url });
    const text = await exchange(port, `GET /a HTTP/1.1\r\n${H}Connection: close\r\n\r\n`);
    expect(text).toMatch(/^HTTP\/1\.1 103 Early Hints\r\n[\s\S]*preload[\s\S]*HTTP\/1\.1 200 OK/);
    expect(text).toContain("Trailer: X-T");
    expect(text).toMatch(/0\r\nX-T: 1\r\n\r\n$/);
  });
});

describe("who forwarded it", () => {
  const told = `X-Forwarded-For: 9.9.9.9\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\nX-Forwarded-Port: 1\r\nX-Real-IP: 9.9.9.9\r\nForwarded: for=9.9.9.9\r\nVia: 1.1 before\r\n`;
  const get = `GET /a HTTP/1.1\r\nHost: shop.example:81\r\n${told}Connection: close\r\n\r\n`;

  test("is replaced where the peer is nobody's proxy", async () => {
    const behind = await upstream();
    const { port } = await gateway({ upstream: behind.url });
    await exchange(port, get);
    const { headers } = behind.seen[0]!;
    expect(headers["x-forwarded-for"]).toBe("127.0.0.1");
    expect(headers["x-forwarded-proto"]).toBe("http");
    expect(headers["x-forwarded-host"]).toBe("shop.example:81");
    expect(headers["x-forwarded-port"]).toBeUndefined();
    expect(headers["x-real-ip"]).toBeUndefined();
    expect(headers["forwarded"]).toBe('for=127.0.0.1;host="shop.example:81";proto=http');
    expect(headers["via"]).toMatch(/^1\.1 before, 1\.1 onceward-[0-9a-f]{8}$/);
  });

  test("is added to what a trusted proxy says", async () => {
    const behind = await upstream();
    const { port } = await gateway({ upstream: behind.url, trustedProxies: ["127.0.0.0/8"] });
    await exchange(port, get);
    const { headers } = behind.seen[0]!;
    expect(headers["x-forwarded-for"]).toBe("9.9.9.9, 127.0.0.1");
    expect(headers["x-forwarded-proto"]).toBe("https");
    expect(headers["x-forwarded-host"]).toBe("evil");
    expect(headers["forwarded"]).toBe('for=9.9.9.9, for=127.0.0.1;host="shop.example:81";proto=http');
  });

  test.each([
    [true, "shop.example:81"],
    [false, "UPSTREAM"],
  ])("preserveHost: %s", async (preserveHost, host) => {
    const behind = await upstream();
    const { port } = await gateway({ upstream: behind.url, preserveHost });
    await exchange(port, get);
    expect(behind.seen[0]?.headers.host).toBe(host.replace("UPSTREAM", `127.0.0.1:${behind.port}`));
  });

  test("a gateway that is its own upstream says so instead of calling itself forever", async () => {
    const behind = await upstream();
    const through = await gateway({ upstream: behind.url });
    await through.reload({ upstream: through.url });
    const answer = await send(through.port);
    expect(answer.status).toBe(508);
  });
});

describe.skipIf(missing("curl"))("curl", () => {
  const run = async (...args: string[]): Promise<string> => (await curl("curl", ["-s", "-m", "10", ...args])).stdout;

  test("an Upgrade to h2c is taken out and the request served as HTTP/1.1, body and key included (SPEC §5.7)", async () => {
    const behind = await upstream(({ body }, response) => void response.end(`got ${body}`));
    const { url } = await gateway({ upstream: behind.url });
    const args = [
      "--http2",
      "-d",
      "amount=1",
      "-H",
      "Idempotency-Key: k",
      "-w",
      " %{http_version} %{http_code}",
      `${url}/pay`,
    ];
    expect(await run(...args)).toBe("got amount=1 1.1 200");
    expect(await run("-i", ...args)).toMatch(/Idempotent-Replayed: true/i);
    expect(behind.seen).toHaveLength(1);
    expect(behind.seen[0]?.headers.upgrade).toBeUndefined();
    expect(behind.seen[0]?.headers["http2-settings"]).toBeUndefined();
  });

  test("HTTP/1.0, HEAD, and two requests on one connection", async () => {
    const behind = await upstream(({ method }, response) => void response.end(method === "HEAD" ? undefined : "hello"));
    const { url } = await gateway({ upstream: behind.url });
    expect(await run("-0", `${url}/a`)).toBe("hello");
    expect(await run("-I", `${url}/a`)).toMatch(/^HTTP\/1\.1 200 OK/);
    expect(await run("-w", "%{num_connects}", `${url}/a`, `${url}/b`)).toBe("hello1hello0");
  });
});
