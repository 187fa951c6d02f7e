// The admin address: health, metrics and the admin API, on a listener of its own (SPEC §9.5).

import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { IdempotencyError, isIdempotencyError, type Store } from "onceward";
import type { Address } from "../config/config.js";
import type { Health } from "../contract.js";
import type { Logger } from "../log.js";
import type { Metrics } from "../metrics.js";
import { type ApiDeps, endpoints, type Handler } from "./api.js";
import { admit, checkSource, type GuardRules, isLoopback } from "./guard.js";
import { AdminError, jsonReply, problemReply, type Reply, send } from "./reply.js";

export interface AdminConfig {
  readonly admin: Address;
  /** Needed on any address that is not loopback. */
  readonly adminToken: string | null;
}

export interface AdminDeps {
  readonly store: Store;
  readonly metrics: Metrics;
  readonly log: Logger;
  /** Whether the gateway takes no new requests any more; then it is not ready. */
  readonly stopping: () => boolean;
  readonly version: string;
}

export interface AdminServer {
  /** Where it listens, with the port that it got. */
  readonly address: Address;
  readonly url: string;
  /** Answers what is under way, for up to 3 seconds, then closes. */
  close(): Promise<void>;
}

const READY_TIMEOUT_MS = 2_000;
/** How long requests under way may take once it closes. */
const CLOSE_TIMEOUT_MS = 3_000;

/**
 * Starts the admin interface.
 *
 * @throws IdempotencyError `config_invalid` where it cannot listen there, or may not without a token.
 */
export async function startAdmin(config: AdminConfig, deps: AdminDeps): Promise<AdminServer> {
  const { host, port } = config.admin;
  if (config.adminToken === "")
    throw new IdempotencyError("config_invalid", "adminToken is empty: set one, or leave it out.");
  const server = createServer({
    // Said here too, since NODE_OPTIONS could turn it on for all servers of the process.
    insecureHTTPParser: false,
    maxHeaderSize: 16_384,
    headersTimeout: 10_000,
    requestTimeout: 30_000,
    keepAliveTimeout: 5_000,
  });
  server.maxConnections = 256;
  await listen(server, config.admin);
  const bound = server.address() as AddressInfo;
  const loopback = isLoopback(bound.address);
  if (!loopback && config.adminToken === null) {
    await closeServer(server);
    throw new IdempotencyError(
      "config_invalid",
      `admin: ${host}:${port} can be reached from other machines, so it needs a token: set adminToken, or listen on 127.0.0.1.`,
    );
  }
  const rules: GuardRules = { token: config.adminToken, loopback, port: bound.port };
  const route = router(rules, deps);
  server.on("request", (request, response) => void respond(request, response, route, deps.log));
  const name = bound.family === "IPv6" ? `[${bound.address}]` : bound.address;
  return {
    address: { host: bound.address, port: bound.port },
    url: `http://${name}:${bound.port}`,
    close: () => closeServer(server),
  };
}

type Route = (request: IncomingMessage) => Promise<Reply>;

function router(rules: GuardRules, deps: AdminDeps): Route {
  const api = endpoints(deps satisfies ApiDeps);
  const ready = readiness(deps);
  return async (request) => {
    const target = request.url ?? "/";
    const mark = target.indexOf("?");
    const path = mark < 0 ? target : target.slice(0, mark);
    const method = request.method === "HEAD" ? "GET" : (request.method ?? "");
    // Probes come from wherever the orchestrator runs, and learn nothing but a word.
    if (method === "GET" && path === "/healthz") return jsonReply({ status: "ok" } satisfies Health);
    if (method === "GET" && path === "/readyz") return ready();
    const refusal = checkSource(request, rules);
    if (refusal !== null) return refusal;
    const admission = admit(request, rules.token);
    if (!admission.ok) return admission.reply;
    const { handlers, id } = find(api, path);
    if (handlers === undefined) return problemReply(404, "There is nothing at this path; GET / lists what there is.");
    const handler = handlers[method];
    if (handler === undefined) {
      const allow = Object.keys(handlers)
        .flatMap((name) => (name === "GET" ? ["GET", "HEAD"] : [name]))
        .join(", ");
      return problemReply(405, `Here only ${allow} can be used.`, { headers: { Allow: allow } });
    }
    const query = new URLSearchParams(mark < 0 ? "" : target.slice(mark + 1));
    return handler({ request, id, query, who: admission.who });
  };
}

const PROBES: Readonly<Record<string, Handler>> = { GET: () => jsonReply({ status: "ok" }) };

/** `/api/records/7f…/settle` is found as `/api/records/{id}/settle`. */
function find(
  api: ReturnType<typeof endpoints>,
  path: string,
): { readonly handlers: Readonly<Record<string, Handler>> | undefined; readonly id: string } {
  // GET has been answered; these are here for their 405.
  if (path === "/healthz" || path === "/readyz") return { handlers: PROBES, id: "" };
  const [, top, list, id, ...rest] = path.split("/");
  if (top !== "api" || id === undefined || id === "" || id.length > 200) return { handlers: api.get(path), id: "" };
  return { handlers: api.get(["", top, list, "{id}", ...rest].join("/")), id };
}

/** Whether the store answers; many probes at once ask it once. */
function readiness({ store, stopping }: AdminDeps): () => Promise<Reply> {
  let asking: Promise<boolean> | null = null;
  const ask = async (): Promise<boolean> => {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<false>((resolve) => {
      timer = setTimeout(() => resolve(false), READY_TIMEOUT_MS);
    });
    try {
      return await Promise.race([store.getShared("ready").then(() => true), late]);
    } catch {
      return false;
    } finally {
      clearTimeout(timer);
      asking = null;
    }
  };
  return async () => {
    if (stopping()) return jsonReply({ status: "stopping" } satisfies Health, 503);
    asking ??= ask();
    if (await asking) return jsonReply({ status: "ok" } satisfies Health);
    return jsonReply({ status: "store unavailable" } satisfies Health, 503);
  };
}

async function respond(request: IncomingMessage, response: ServerResponse, route: Route, log: Logger): Promise<void> {
  let reply: Reply;
  try {
    reply = await route(request);
  } catch (error) {
    reply = errorReply(error, log);
  }
  // A body that nobody read would stand in the way of the connection's next request.
  if (!request.complete) response.setHeader("Connection", "close");
  if (!response.destroyed) send(response, reply);
}

function errorReply(error: unknown, log: Logger): Reply {
  if (error instanceof AdminError) return error.reply;
  if (isIdempotencyError(error, "request_invalid")) return problemReply(400, error.message, { parameter: "cursor" });
  if (isIdempotencyError(error, "store_unavailable") || isIdempotencyError(error, "store_closed")) {
    const detail =
      "The store cannot be reached. If this was to change a record, look at the record before trying again.";
    return problemReply(503, detail, { headers: { "Retry-After": "1" } });
  }
  if (isIdempotencyError(error, "store_corrupt")) return problemReply(500, error.message);
  log.error({ err: error }, "A request to the admin interface failed.");
  return problemReply(500, "Something went wrong here; the gateway's log says what.");
}

function listen(server: Server, { host, port }: Address): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => {
      const why: Readonly<Record<string, string>> = {
        EADDRINUSE: "is in use by another process: stop that one, or choose another port",
        EACCES: "may not be listened on by this user: choose a port above 1023",
        EADDRNOTAVAIL: "is no address of this machine: choose one that is, such as 127.0.0.1",
        ENOTFOUND: "is a name that cannot be resolved: write an address, such as 127.0.0.1",
      };
      const reason = why[error.code ?? ""] ?? `cannot be listened on (${error.code ?? error.message})`;
      reject(new IdempotencyError("config_invalid", `admin: ${host}:${port} ${reason}.`, { cause: error }));
    });
    server.listen({ host, port }, resolve);
  });
}

function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    const late = setTimeout(() => server.closeAllConnections(), CLOSE_TIMEOUT_MS);
    server.close(() => {
      clearTimeout(late);
      resolve();
    });
    server.closeIdleConnections();
  });
}
