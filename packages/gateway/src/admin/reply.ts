// Answers of the admin API: JSON, problems and pages, each with the same protective header fields.

import type { ServerResponse } from "node:http";
import { PAGE_CSP } from "onceward/http";
import type { AdminProblem } from "../contract.js";

export interface Reply {
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
  readonly headers?: Readonly<Record<string, string>>;
}

const TITLES: Readonly<Record<number, string>> = {
  400: "Bad Request",
  401: "Unauthorized",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  409: "Conflict",
  413: "Content Too Large",
  415: "Unsupported Media Type",
  500: "Internal Server Error",
  501: "Not Implemented",
  503: "Service Unavailable",
};

/** On every answer: nothing of this is cached, framed, sniffed, or read by another site. */
const PROTECTION: Readonly<Record<string, string>> = {
  "Cache-Control": "no-store",
  "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Resource-Policy": "same-origin",
  "Referrer-Policy": "no-referrer",
  "X-Content-Type-Options": "nosniff",
  "X-Frame-Options": "DENY",
};

export function jsonReply(value: object, status = 200): Reply {
  return { status, contentType: "application/json", body: `${JSON.stringify(value)}\n` };
}

export function pageReply(body: string): Reply {
  return {
    status: 200,
    contentType: "text/html; charset=utf-8",
    body,
    headers: { "Content-Security-Policy": PAGE_CSP },
  };
}

/** `parameter` is the query parameter that is wrong. */
export function problemReply(
  status: number,
  detail: string,
  more: { readonly parameter?: string; readonly headers?: Readonly<Record<string, string>> } = {},
): Reply {
  const { parameter, headers } = more;
  const problem: AdminProblem = {
    type: "about:blank",
    title: TITLES[status] ?? "Error",
    status,
    detail,
    ...(parameter === undefined ? {} : { parameter }),
  };
  const reply = { status, contentType: "application/problem+json", body: `${JSON.stringify(problem)}\n` };
  return headers === undefined ? reply : { ...reply, headers };
}

/** What a handler throws to answer a problem from within. */
export class AdminError extends Error {
  readonly reply: Reply;

  constructor(...args: Parameters<typeof problemReply>) {
    super(args[1]);
    this.reply = problemReply(...args);
  }
}

/** Node sends no body to HEAD by itself. */
export function send(response: ServerResponse, reply: Reply): void {
  const body = Buffer.from(reply.body, "utf8");
  response.writeHead(reply.status, {
    ...PROTECTION,
    ...reply.headers,
    "Content-Type": reply.contentType,
    "Content-Length": body.length,
  });
  response.end(body);
}
