// The commented configuration file that `onceward init` writes.

import { existsSync } from "node:fs";
import { relative, sep } from "node:path";

/** @param schema What editors check the file against, where it can be found from there. */
export function initialFile(schema: string | null): string {
  return (schema === null ? "" : `# yaml-language-server: $schema=${schema}\n`) + TEMPLATE;
}

/**
 * The way from a folder to the schema, such as `./node_modules/…`; null where the schema is outside of the folder: that
 * way would be this machine's only, and an editor elsewhere would not find it.
 */
export function schemaSeenFrom(folder: string, schema: string): string | null {
  const way = relative(folder, schema).split(sep).join("/");
  return existsSync(schema) && !way.startsWith("../") && !way.includes(":") ? `./${way}` : null;
}

const TEMPLATE = `# Onceward: requests with an idempotency key run once, and every retry gets the first answer.
#   onceward config check    says what is understood of this file
#   onceward serve           starts the gateway with it
# What is commented out shows the default. \${VAR} and \${VAR:-default} put environment variables into strings.

upstream: http://127.0.0.1:3000      # the service to protect; also --upstream or ONCEWARD_UPSTREAM
listen: 127.0.0.1:8080               # where clients connect; 0.0.0.0:8080 for every interface
admin: 127.0.0.1:8081                # run history, admin API, /metrics, /healthz, /readyz; off for none
# adminToken: \${ONCEWARD_ADMIN_TOKEN}   # needed wherever admin is not on loopback

store: sqlite:./onceward.db          # or memory (forgets everything when it stops); relative to this file

# Every option of a policy stands here, as the default of all routes, or in a route.
profile: ietf                        # ietf, stripe, glyue, fyno, apiture, gains
# header: Idempotency-Key
# required: false                    # true refuses requests without a key
# methods: [POST, PATCH]             # or all
# retention: 24h                     # how long a key is kept, from the first request
# fingerprint: exact                 # what a reused key is compared with: exact, json, off, or a list of JSON fields
# onMismatch: reject                 # a reused key with other data: 422 (reject), or the first answer (replay)
# whileRunning: reject               # a duplicate meanwhile: 409 (reject), or { wait: 10s } for the answer
# onInterrupted: hold                # hold (at most once), rerun (at least once), { ask: "https://…" }
# lease: 30s                         # how long an owner is believed alive without a sign of life
# maxBody: 1MiB                      # the largest answer that is recorded
# maxRequestBody: 100MiB
# mode: enforce                      # observe changes nothing and reports what it would have done

# Who is calling: keys of two accounts never meet.
account:
  from: credential                   # Authorization and X-Api-Key; also header, basic, cookie, jwt, single
  # anonymous: reject                # what a keyed request without any is: reject, or share one account
  # changingCredentials: reject      # tokens that change between a request and its retry are refused
  # from: jwt
  # issuer: https://login.example.com/
  # audience: payments
  # claim: sub
  # jwks: https://login.example.com/.well-known/jwks.json

# First match wins. Without routes the options above cover every path; with them, only what is listed.
# routes:
#   - match: POST /v1/transfers      # :name and * stand for one segment, ** at the end for any number
#     required: true
#   - match: /v1/reports/**          # every method
#     enabled: false                 # passes through untouched
#   - match: POST /v1/:workspace/event
#     profile: fyno                  # a route with a profile of its own starts from that alone
#     when: { header: X-Environment, equals: live }

# namespace: default                 # part of every key's scope, for gateways that share a store
# environment: live                  # likewise; or { header: X-Environment }, or host

# tls: { cert: ./cert.pem, key: ./key.pem }       # towards clients
# upstreamTls: { ca: ./ca.pem }                   # towards an https: upstream
# trustedProxies: [10.0.0.0/8]                    # whose Forwarded and X-Forwarded-* are believed
# preserveHost: true                              # the upstream gets the client's Host

# Seals recorded answers at rest. The first key seals, all open. openssl rand -base64 32 makes one.
# encryption:
#   - id: "1"
#     key: \${ONCEWARD_ENCRYPTION_KEY}
# acceptUnsealed: false              # true for one retention where encryption is set on a store that is in use already:
#                                    # else the retries of what was recorded unsealed get 500
# hashKeys: false                    # keep keys as digests in records and history
# redactPaths: [/v1/users/**]        # shown as [redacted] in history and logs

# limits:
#   maxInFlight: 10000               # keyed requests under way at once
#   maxConnections: 10000
#   maxHeaders: 200
#   maxHeaderSize: 16KiB
#   maxBuffer: 256MiB                # memory for bodies in all
#   spoolAbove: 1MiB                 # larger request bodies wait on disk
#   maxSpool: 4GiB
#   maxWaitersPerKey: 100
#   maxWaiters: 10000
#   maxRecordsPerAccount: 1000000
#   maxRecords: 10000000
#   newKeysPerSecond: off            # of one account
#   maxRuns: 100000                  # kept in the history
# timeouts:
#   headers: 10s
#   body: 60s
#   keepAlive: 65s
#   connect: 5s
#   upstreamHeaders: 60s
#   upstreamBody: 60s
#   store: 5s
#   shutdown: 25s
#   purge: 10s
# log: { level: info }               # debug, info, warn, error, silent; format: json or pretty
`;
