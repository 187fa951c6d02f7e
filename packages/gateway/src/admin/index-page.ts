// The page at the admin address's root: what can be asked here.

import { html, htmlPage, joined } from "onceward/http";

const ENDPOINTS: readonly (readonly [endpoint: string, about: string])[] = [
  ["GET /healthz", "200 while the process lives"],
  ["GET /readyz", "200 while requests are served: the store answers, and it is not stopping"],
  ["GET /metrics", "for Prometheus"],
  ["GET /api/runs", "the history; account, key, route, outcome, flag, record, from, to, limit, cursor"],
  ["GET /api/runs/{id}", "one run with its steps"],
  ["GET /api/records", "the records; state, account, key, limit, cursor"],
  ["GET /api/records/{id}", "one record; of its answer the status and the names of the header fields"],
  ["POST /api/records/{id}/settle", "says what became of an operation whose outcome is unknown"],
  ["POST /api/records/{id}/release", "frees a key; a running one with force only"],
  ["GET /api/audit", "who changed what, when and why"],
];

export function indexPage(version: string): string {
  const rows = ENDPOINTS.map(
    ([endpoint, about]) => html`<tr><th scope="row"><code>${endpoint}</code></th><td>${about}</td></tr>`,
  );
  return htmlPage(
    "Onceward",
    html`<h1>Onceward <small>${version}</small></h1>
<p>The admin address of this gateway. Where a token is set, all but the first two need it: <code>Authorization: Bearer …</code>.</p>
<table>${joined(rows)}</table>`,
  );
}
