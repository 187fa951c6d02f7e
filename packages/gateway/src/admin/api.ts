// The admin API's endpoints: what each answers, once the caller has been admitted.

import type { IncomingMessage } from "node:http";
import type { HistoryStore, Store } from "onceward";
import type { AuditList, ChangeDone, RecordList, RunList } from "../contract.js";
import type { Logger } from "../log.js";
import type { Metrics } from "../metrics.js";
import { shortKey } from "../redaction.js";
import { readRelease, readSettle } from "./change-requests.js";
import { indexPage } from "./index-page.js";
import { readNoQuery, readPageQuery, readRecordQuery, readRunQuery } from "./query.js";
import { recordDetail, recordItem } from "./record-item.js";
import { AdminError, jsonReply, pageReply, problemReply, type Reply } from "./reply.js";
import { type ChangeResult, releaseRecord, settleRecord } from "./settle.js";

export interface ApiDeps {
  readonly store: Store;
  readonly metrics: Metrics;
  readonly log: Logger;
  readonly version: string;
}

/** One request whose endpoint is known. */
export interface Call {
  readonly request: IncomingMessage;
  /** What stood for `{id}` in the path. */
  readonly id: string;
  readonly query: URLSearchParams;
  /** For the audit trail. */
  readonly who: string;
}

export type Handler = (call: Call) => Promise<Reply> | Reply;

/** Handlers by path and method; `{id}` is one segment. */
export function endpoints(deps: ApiDeps): ReadonlyMap<string, Readonly<Record<string, Handler>>> {
  const { store, metrics, version } = deps;
  return new Map<string, Readonly<Record<string, Handler>>>([
    ["/", { GET: () => pageReply(indexPage(version)) }],
    [
      "/metrics",
      {
        GET: async () => ({
          status: 200,
          contentType: metrics.registry.contentType,
          body: await metrics.registry.metrics(),
        }),
      },
    ],
    ["/api/runs", { GET: (call) => listRuns(store, call) }],
    ["/api/runs/{id}", { GET: (call) => getRun(store, call) }],
    ["/api/records", { GET: (call) => listRecords(store, call) }],
    ["/api/records/{id}", { GET: (call) => getRecord(store, call) }],
    ["/api/records/{id}/settle", { POST: (call) => settle(deps, call) }],
    ["/api/records/{id}/release", { POST: (call) => release(deps, call) }],
    ["/api/audit", { GET: (call) => listAudit(store, call) }],
  ]);
}

async function listRuns(store: Store, { query }: Call): Promise<Reply> {
  const list: RunList = await historyOf(store).listRuns(readRunQuery(query));
  return jsonReply(list);
}

async function getRun(store: Store, { id, query }: Call): Promise<Reply> {
  readNoQuery(query);
  const run = await historyOf(store).getRun(id);
  return run === null ? problemReply(404, "There is no such run in the history, or no longer.") : jsonReply(run);
}

async function listRecords(store: Store, { query }: Call): Promise<Reply> {
  const { items, next } = await store.list(readRecordQuery(query));
  const list: RecordList = { items: items.map(recordItem), next };
  return jsonReply(list);
}

async function getRecord(store: Store, { id, query }: Call): Promise<Reply> {
  readNoQuery(query);
  const found = await store.find(recordIdOf(id));
  return found === null ? problemReply(404, NO_RECORD) : jsonReply(recordDetail(found));
}

async function listAudit(store: Store, { query }: Call): Promise<Reply> {
  const list: AuditList = await historyOf(store).listAudit(readPageQuery(query));
  return jsonReply(list);
}

async function settle(deps: ApiDeps, { request, id, query, who }: Call): Promise<Reply> {
  readNoQuery(query);
  const recordId = recordIdOf(id);
  const { reason, decision } = await readSettle(request);
  return changed(deps, recordId, await settleRecord(deps.store, recordId, decision, who, reason));
}

async function release(deps: ApiDeps, { request, id, query, who }: Call): Promise<Reply> {
  readNoQuery(query);
  const recordId = recordIdOf(id);
  const { reason, force } = await readRelease(request);
  return changed(deps, recordId, await releaseRecord(deps.store, recordId, { force }, who, reason));
}

async function changed({ store, log }: ApiDeps, id: string, result: ChangeResult): Promise<Reply> {
  if (result.kind === "missing") return problemReply(404, result.detail);
  if (result.kind === "conflict") return problemReply(409, result.detail);
  if (result.kind === "invalid") return problemReply(400, result.detail);
  const { entry, audited, amended } = result;
  log.info(
    { audit: { ...entry, key: shortKey(entry.key) }, audited },
    `An operator changed a record: ${entry.detail}.`,
  );
  // The change has happened; that it cannot be shown at once is no reason to answer an error.
  const found = await store.find(id).catch(() => null);
  const done: ChangeDone = { entry, record: found === null ? null : recordItem(found.record), amended };
  return jsonReply(done);
}

const NO_RECORD = "There is no such record, or its retention is over.";

function recordIdOf(id: string): string {
  if (/^[0-9a-f]{64}$/.test(id)) return id;
  throw new AdminError(404, NO_RECORD);
}

function historyOf(store: Store): HistoryStore {
  if (store.history !== undefined) return store.history;
  throw new AdminError(501, `The ${store.info.name} store keeps no history.`);
}
