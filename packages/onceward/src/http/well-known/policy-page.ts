// The policy document as a page that people read.

import { type Html, html, htmlPage, joined } from "../html.js";
import type { PolicyDocument, PublishedPolicy, RoutePolicy } from "./published.js";

/** The page; everything from the configuration is escaped. */
export function policyPage(document: PolicyDocument): string {
  return htmlPage(
    "Idempotency",
    html`<h1>Idempotency</h1>
<p>Send a key of your own choosing with a request, and retry with the same key until you have an answer: the operation
starts at most once, and every retry gets the answer of the first. For each request the first route here that matches
holds. The same as JSON: ask for <code>Accept: application/json</code>.</p>
${joined(document.routes.map(routeSection))}
${document.keyStatus === null ? html`` : keyStatus(document.keyStatus)}`,
  );
}

function keyStatus(template: string): Html {
  return html`<p>What became of a key of yours: <code>GET ${template}</code>, with your own credentials.</p>`;
}

function routeSection({ route, when, policy }: RoutePolicy): Html {
  const condition =
    when === null
      ? html``
      : "host" in when
        ? html` <small>host ${when.host}</small>`
        : html` <small>where ${when.header} is ${when.equals}</small>`;
  const heading = html`<h2><code>${route}</code>${condition}</h2>`;
  if (policy === null) return html`${heading}<p>Keys mean nothing here: requests pass through as they are.</p>`;
  const trial = policy.enforced
    ? html``
    : html`<p><strong>On trial: keys are watched, and nothing is promised yet.</strong></p>`;
  const rows = facts(policy).map(([term, text]) => html`<tr><th scope="row">${term}</th><td>${text}</td></tr>`);
  return html`${heading}${trial}<table>${joined(rows)}</table>`;
}

function facts(policy: PublishedPolicy): readonly (readonly [term: string, text: string])[] {
  const { key, retention, mismatch, inFlight, recorded } = policy;
  const spelled = key.format === "quoted" ? 'quoted (RFC 9651), as in "8e03978e"' : "bare or quoted (RFC 9651)";
  return [
    ["Header", `${policy.header}, ${policy.required ? "required" : "optional"}`],
    [
      "Methods",
      policy.methods === "all" ? "every method but OPTIONS, HEAD, TRACE and CONNECT" : policy.methods.join(", "),
    ],
    [
      "Key",
      `${key.minLength} to ${key.maxLength} characters, ${spelled}; unique for each ${key.uniquePer === "account" ? "account" : "account and operation"}`,
    ],
    ["Kept for", keptFor(retention)],
    [
      "Same key, another request",
      mismatch.answer === "first-answer"
        ? "the first answer"
        : `${mismatch.answer}; compared is ${COMPARED[mismatch.compared]}`,
    ],
    ["Same key again", policy.duplicate === "first-answer" ? "the first answer" : `${policy.duplicate}`],
    [
      "While the first runs",
      `${inFlight.waitSeconds > 0 ? `waits for up to ${span(inFlight.waitSeconds)}, then ` : ""}${inFlight.status}, Retry-After: ${inFlight.retryAfterSeconds}`,
    ],
    ["If it was interrupted", INTERRUPTED[policy.interrupted]],
    ["Recorded", recordedRule(recorded)],
    ["Largest request, largest answer kept", `${policy.maxRequestBytes} bytes, ${recorded.maxBodyBytes} bytes`],
    ["Mark of a replay", policy.replayMarker === null ? "none" : `${policy.replayMarker}: true`],
    ["Errors as", policy.errorFormat],
    ["Profile", policy.profile],
  ];
}

const COMPARED = {
  request: "the whole request, byte for byte",
  json: "the request, its body as JSON",
  fields: "some fields of its body",
  nothing: "nothing",
} as const;

const INTERRUPTED = {
  held: "it is not run again; its outcome is answered as unknown until the operator has settled it",
  "run-again": "it is run again",
  "asked-about": "the service is asked what became of it",
} as const;

function keptFor({ seconds, header, minSeconds, maxSeconds }: PublishedPolicy["retention"]): string {
  const usual = `${span(seconds)} from the first request`;
  return header === null ? usual : `${usual}, or as ${header} says: from ${span(minSeconds)} to ${span(maxSeconds)}`;
}

function recordedRule({ except, exceptWithRetryAfter, unknown }: PublishedPolicy["recorded"]): string {
  const exceptions = [...except.map(String), ...exceptWithRetryAfter.map((status) => `${status} with Retry-After`)];
  const rule =
    exceptions.length === 0
      ? "every answer"
      : `every answer but ${exceptions.join(", ")}, after which the key is unused`;
  return unknown.length === 0 ? rule : `${rule}; ${unknown.join(", ")} leave the outcome unknown`;
}

function span(seconds: number): string {
  for (const [unit, size] of [
    ["d", 86_400],
    ["h", 3_600],
    ["min", 60],
  ] as const) {
    if (seconds >= 2 * size && seconds % size === 0) return `${seconds / size} ${unit}`;
  }
  return `${seconds} s`;
}
