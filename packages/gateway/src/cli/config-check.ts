// `onceward config check`: says what is understood of the configuration, or all that is wrong with it.

import type { Command } from "commander";
import { addressText } from "../config/addresses.js";
import type { AccountConfig, Condition, EnvironmentConfig, GatewayConfig, Route } from "../config/config.js";
import { configJsonSchema } from "../config/json-schema.js";
import { findConfigFile, loadConfig } from "../config/load.js";
import { showStoreUrl } from "../config/store-url.js";
import { type Cell, durationText, listing, note, paint, print, printJson, table } from "./output.js";
import { addServeFlags, type ServeFlags } from "./settings.js";
import { warningsOf } from "./warnings.js";

export function addConfig(program: Command): void {
  const config = program.command("config").description("look at the configuration").helpCommand(false);
  addServeFlags(config.command("check").description("say what is understood of it, or all that is wrong with it"))
    .option("--json", "for machines")
    .action(check);
  config
    .command("schema")
    .description("print the JSON Schema of the file, for editors")
    .action(() => print(JSON.stringify(configJsonSchema(), null, 2)));
}

function check({ config: named, json, ...flags }: ServeFlags & { readonly json?: boolean }): void {
  const { env } = process;
  const file = findConfigFile(named, env, process.cwd());
  const config = loadConfig({ file, flags, env });
  if (json === true) {
    printJson(plain(config));
    return;
  }
  print(listing(pairs(config, file)));
  print();
  print(routeTable(config));
  for (const warning of warningsOf(config)) note(`\n${paint("yellow", "warning:")} ${warning}`);
}

function pairs(config: GatewayConfig, file: string | undefined): [string, string][] {
  const { listen, admin, tls, environment } = config;
  return [
    ["file", file ?? "none"],
    ["listen", `${tls === null ? "http" : "https"}://${addressText(listen)}`],
    [
      "admin",
      admin === null ? "off" : `http://${addressText(admin)}${config.adminToken === null ? "" : "  (token ***)"}`,
    ],
    ["upstream", config.upstream],
    ["store", showStoreUrl(config.store)],
    ["sealed", sealedText(config)],
    ["account", accountText(config.account)],
    ["scope", `namespace ${config.namespace}, environment ${environmentText(environment)}`],
  ];
}

function sealedText({ encryption, acceptUnsealed }: GatewayConfig): string {
  if (encryption.length === 0) return "no";
  const more = encryption.length > 1 ? `, ${encryption.length - 1} more to open` : "";
  const before = acceptUnsealed ? "replayed too" : "not replayed (acceptUnsealed: true does)";
  return `with key ${encryption[0]?.id} ***${more}; answers from before it: ${before}`;
}

function accountText(account: AccountConfig): string {
  const anonymous = account.from === "single" ? "" : `, anonymous: ${account.anonymous}`;
  const secret = account.secret === null ? "" : ", accountKey: ***";
  switch (account.from) {
    case "header":
    case "cookie":
      return `from ${account.from} ${account.name}${anonymous}${secret}`;
    case "jwt":
      return `from claim ${account.claim} of ${account.issuer} for ${account.audience}, verified by ${account.keys.kind === "jwks" ? account.keys.url : `${account.keys.kind} ***`}${anonymous}${secret}`;
    case "single":
      return "single: all callers are one";
    default:
      return `from ${account.from}${anonymous}${secret}`;
  }
}

function environmentText(environment: EnvironmentConfig): string {
  if (environment.from === "value") return environment.value;
  return environment.from === "host" ? "from the host" : `from header ${environment.header}`;
}

function conditionText(when: Condition | null): string {
  if (when === null) return "";
  return "host" in when ? ` (host ${when.host})` : ` (${when.header}: ${when.equals})`;
}

function routeTable(config: GatewayConfig): string {
  const rows = config.routes.map((route) => routeRow(route));
  if (!config.routes.some(isCatchAll)) rows.push(unprotectedRow("anything else", config.upstream));
  return table(["ROUTE", "PROFILE", "METHODS", "KEY", "RETENTION", "REUSED", "INTERRUPTED", "UPSTREAM"], rows);
}

function isCatchAll({ name, methods, when }: Route): boolean {
  return name === "/**" && methods === null && when === null;
}

function unprotectedRow(name: string, upstream: string): (string | Cell)[] {
  return [name, { text: "not protected", style: "yellow" }, "", "", "", "", "", upstream];
}

/** Those that the route matches and its policy covers. */
function methodsText({ methods }: Route, covered: ReadonlySet<string> | "all"): string {
  if (covered === "all") return methods === null ? "all" : [...methods].join(",");
  return [...covered].filter((method) => methods?.has(method) ?? true).join(",");
}

function routeRow(route: Route): (string | Cell)[] {
  const { policy } = route;
  const name = route.name + conditionText(route.when);
  if (policy === null) return unprotectedRow(name, route.upstream);
  const { onInterrupted } = policy;
  return [
    name,
    policy.mode === "observe" ? { text: `${policy.profile} (observed)`, style: "yellow" } : policy.profile,
    methodsText(route, policy.methods),
    `${policy.header}${policy.required ? ", required" : ""}`,
    durationText(policy.retentionMs),
    policy.onMismatch === "replay" ? "first answer" : "refused",
    typeof onInterrupted === "string" ? onInterrupted : "ask",
    route.upstream,
  ];
}

const SECRETS: ReadonlySet<string> = new Set(["adminToken", "secret", "key", "pem"]);

/** The configuration as plain data, with secrets as `***`. */
function plain(value: unknown, name = ""): unknown {
  if (SECRETS.has(name) && value !== null) return "***";
  if (value instanceof Set) return [...value];
  if (Array.isArray(value)) return value.map((item) => plain(item));
  if (typeof value !== "object" || value === null) return name === "store" ? showStoreUrl(String(value)) : value;
  const entries = Object.entries(value).filter(([, inner]) => typeof inner !== "function");
  return Object.fromEntries(entries.map(([inner, item]) => [inner, plain(item, inner)]));
}
