import { copyFileSync, readFileSync } from "node:fs";
import { createServer, request } from "node:https";
import type { AddressInfo } from "node:net";
import { connect, type TLSSocket } from "node:tls";
import { describe, expect, onTestFinished, test } from "vitest";
import { missing } from "../tools.js";
import { authority, type Certificate } from "./support/certificates.js";
import { post } from "./support/client.js";
import { gateway, temporaryFolder } from "./support/gateway.js";
import { upstream } from "./support/upstream.js";

interface SecureUpstream {
  readonly port: number;
  readonly names: (string | false | undefined)[];
  readonly clients: string[];
}

/** An https upstream that tells which name it was asked for and who asked. */
async function secureUpstream(certificate: Certificate, more: object = {}): Promise<SecureUpstream> {
  const names: (string | false | undefined)[] = [];
  const clients: string[] = [];
  const options = { cert: readFileSync(certificate.certFile), key: readFileSync(certificate.keyFile), ...more };
  const server = createServer(options, (incoming, response) => {
    const socket = incoming.socket as TLSSocket;
    names.push((socket as TLSSocket & { servername?: string | false }).servername);
    clients.push(String(socket.getPeerCertificate()?.subject?.CN ?? ""));
    incoming.resume().on("end", () => response.end("secure"));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  return { port: (server.address() as AddressInfo).port, names, clients };
}

function get(port: number, ca: string): Promise<{ readonly status: number; readonly subject: string }> {
  return new Promise((resolve, reject) => {
    const options = { host: "127.0.0.1", port, ca: readFileSync(ca), servername: "gateway.test", agent: false };
    request(options, (message) => {
      const subject = (message.socket as TLSSocket).getPeerCertificate().subject.CN as string;
      message.resume().on("end", () => resolve({ status: message.statusCode ?? 0, subject }));
    })
      .on("error", reject)
      .end();
  });
}

describe.skipIf(missing("openssl"))("TLS on the listener", () => {
  test("serves https, and a renewed certificate after a reload without dropping a connection", async () => {
    const folder = temporaryFolder();
    const ca = authority(folder);
    const first = ca.issue("gateway.test");
    const second = ca.issue("renewed.test", "DNS:gateway.test");
    const behind = await upstream();
    const settings = { upstream: behind.url, tls: { cert: first.certFile, key: first.keyFile } };
    const { port, reload } = await gateway(settings);
    expect(await get(port, ca.caFile)).toEqual({ status: 200, subject: "gateway.test" });
    expect(behind.seen[0]?.headers["x-forwarded-proto"]).toBe("https");
    const held = connect({ host: "127.0.0.1", port, ca: readFileSync(ca.caFile), servername: "gateway.test" });
    onTestFinished(() => void held.destroy());
    await new Promise((resolve) => held.once("secureConnect", resolve));
    copyFileSync(second.certFile, first.certFile);
    copyFileSync(second.keyFile, first.keyFile);
    await reload(settings);
    expect(await get(port, ca.caFile)).toEqual({ status: 200, subject: "renewed.test" });
    held.write("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    const text = await new Promise<string>((resolve) => {
      let all = "";
      held.on("data", (chunk) => {
        all += chunk.toString();
      });
      held.on("end", () => resolve(all));
    });
    expect(text).toMatch(/^HTTP\/1\.1 200 /);
  });

  test("an Upgrade to h2c is taken out there too", async () => {
    const ca = authority(temporaryFolder());
    const { certFile, keyFile } = ca.issue("gateway.test");
    const behind = await upstream();
    const { port } = await gateway({ upstream: behind.url, tls: { cert: certFile, key: keyFile } });
    const socket = connect({ host: "127.0.0.1", port, ca: readFileSync(ca.caFile), servername: "gateway.test" });
    const text = await new Promise<string>((resolve) => {
      let all = "";
      socket.on("data", (chunk) => {
        all += chunk.toString();
      });
      socket.on("close", () => resolve(all));
      socket.write(
        "POST /a HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, close\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nhi",
      );
    });
    expect(text).toMatch(/^HTTP\/1\.1 200 /);
    expect(behind.seen[0]?.body.toString()).toBe("hi");
  });
});

describe.skipIf(missing("openssl"))("TLS to the upstream", () => {
  test("verifies against the authority given, by the URL's name whatever the client's Host says, with its own certificate", async () => {
    const ca = authority(temporaryFolder());
    const own = ca.issue("the-gateway");
    const behind = await secureUpstream(ca.issue("localhost"), { requestCert: true, ca: readFileSync(ca.caFile) });
    const upstreamTls = { ca: ca.caFile, cert: own.certFile, key: own.keyFile };
    const { port } = await gateway({ upstream: `https://localhost:${behind.port}`, upstreamTls });
    const answer = await post(port, "k", { headers: { Host: "evil.example" } });
    expect([answer.status, answer.body.toString()]).toEqual([200, "secure"]);
    expect(behind.names).toEqual(["localhost"]);
    expect(behind.clients).toEqual(["the-gateway"]);
  });

  test("an address has no name to send, and is verified as an address", async () => {
    const ca = authority(temporaryFolder());
    const right = await secureUpstream(ca.issue("a", "IP:127.0.0.1"));
    const wrong = await secureUpstream(ca.issue("b", "DNS:evil.example"));
    const upstreamTls = { ca: ca.caFile };
    const fine = await gateway({ upstream: `https://127.0.0.1:${right.port}`, upstreamTls });
    expect((await post(fine.port, "k", { headers: { Host: "evil.example" } })).status).toBe(200);
    expect(right.names).toEqual([false]);
    const refusing = await gateway({ upstream: `https://127.0.0.1:${wrong.port}`, upstreamTls });
    const answer = await post(refusing.port, "k", { headers: { Host: "evil.example" } });
    expect([answer.status, answer.json().code]).toEqual([502, "upstream_unavailable"]);
  });

  test("another name to verify, and no verification at all", async () => {
    const ca = authority(temporaryFolder());
    const behind = await secureUpstream(ca.issue("inner.test"));
    const named = await gateway({
      upstream: `https://127.0.0.1:${behind.port}`,
      upstreamTls: { ca: ca.caFile, serverName: "inner.test" },
    });
    expect((await post(named.port, "k")).status).toBe(200);
    const unknown = await gateway({ upstream: `https://localhost:${behind.port}` });
    expect((await post(unknown.port, "k")).json().code).toBe("upstream_unavailable");
    const trusting = await gateway({ upstream: `https://localhost:${behind.port}`, upstreamTls: { verify: false } });
    expect((await post(trusting.port, "k")).status).toBe(200);
  });
});
