// Keeps README.md, docs/ and their like true where that is cheap: configuration, settings, metrics, codes, links.

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { PROFILES, type RequestErrorCode } from "onceward";
import { problem } from "onceward/http";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { configJsonSchema, propertiesOf } from "../src/config/json-schema.js";
import { createMetrics } from "../src/metrics.js";
import { load } from "./config/help.js";

const ROOT = fileURLToPath(new URL("../../..", import.meta.url));
const markdownIn = (folder: string) =>
  readdirSync(join(ROOT, folder))
    .filter((name) => name.endsWith(".md"))
    .map((name) => join(folder, name));
const PAGES: ReadonlyMap<string, string> = new Map(
  [...markdownIn("."), ...markdownIn("docs")].map((page) => [page, readFileSync(join(ROOT, page), "utf8")]),
);

function page(name: string): string {
  const text = PAGES.get(name);
  if (text === undefined) throw new Error(`there is no ${name}`);
  return text;
}

/** Without code, in which brackets mean something else. */
function prose(text: string): string {
  return text.replaceAll(/^```[\s\S]*?^```/gm, "").replaceAll(/`[^`\n]*`/g, "``");
}

/** The first cells of a table's rows, by the text of its first heading, without backquotes. */
function rows(text: string, heading: string): string[][] {
  const lines = text.split("\n");
  const start = lines.findIndex((line) => line.startsWith(`| ${heading} |`));
  if (start < 0) throw new Error(`there is no table of ${heading}`);
  const end = lines.findIndex((line, index) => index > start && !line.startsWith("|"));
  return lines.slice(start + 2, end).map((line) =>
    line
      .split("|")
      .slice(1, -1)
      .map((cell) => cell.trim().replaceAll("`", "")),
  );
}

describe("14.2 every configuration shown is one that the gateway takes", () => {
  const FRAGMENT = "# part of onceward.yaml\n";
  const blocks = [...PAGES].flatMap(([name, text]) =>
    [...text.matchAll(/^```yaml\n([\s\S]*?)^```/gm)].map(([, block = ""], index) => [`${name}, ${index + 1}`, block]),
  );

  test.each(blocks as [string, string][])("%s", (_, block) => {
    const text = block.startsWith(FRAGMENT) ? `upstream: http://127.0.0.1:3000\n${block}` : block;
    // Any variable will do that is long enough for a token and right for a key.
    const variables = [...block.matchAll(/\$\{(\w+)|env: (\w+)/g)].map(([, one, other]) => one ?? other ?? "");
    const env = Object.fromEntries(variables.map((name) => [name, Buffer.alloc(32, 7).toString("base64")]));
    expect(load(text, { env }).upstream).toBe("http://127.0.0.1:3000");
    const shown = parse(block) as Record<string, unknown>;
    expect(Object.keys(shown).filter((option) => !(option in propertiesOf(configJsonSchema())))).toEqual([]);
  });

  test("there are some", () => expect(blocks.length).toBeGreaterThan(10));
});

test.each(["limits", "timeouts"])("9.3 the table of %s has each with its default", (group) => {
  const declared = propertiesOf(propertiesOf(configJsonSchema())[group] ?? {});
  const defaults = Object.entries(declared).map(([name, schema]) => [name, String(schema["default"])]);
  const shown = rows(page("docs/operating.md"), group.slice(0, -1)).map(([name, value]) => [name, value]);
  expect(shown).toEqual(defaults);
});

test("the table of metrics has each with its type", async () => {
  const metrics = createMetrics({ process: false });
  const none = () => 0;
  metrics.watch({ bufferBytes: none, spoolBytes: none, connections: none, droppedRuns: none });
  const made = (await metrics.registry.getMetricsAsJSON()).map(({ name, type }) => [name, String(type)]);
  const shown = rows(page("docs/operating.md"), "metric").map(([name, type]) => [name, type]);
  expect(shown.sort()).toEqual(made.sort());
  for (const [name, text] of PAGES) {
    const named = [...text.matchAll(/\bonceward_[a-z_]*[a-z]\b/g)].map(([metric]) => metric);
    const known = made.map(([metric]) => metric);
    expect
      .soft(
        [...new Set(named)].filter((metric) => !known.includes(metric)),
        name,
      )
      .toEqual([]);
  }
});

test("6 the table of answers has every code, with the status it has by default", () => {
  // As an object, so that the compiler sees that none is missing.
  const codes: Readonly<Record<RequestErrorCode, true>> = {
    key_missing: true,
    key_invalid: true,
    account_unknown: true,
    expiration_invalid: true,
    in_progress: true,
    duplicate: true,
    response_not_kept: true,
    key_reused: true,
    too_many_keys: true,
    outcome_unknown: true,
    store_unavailable: true,
    upstream_unavailable: true,
    replay_refused: true,
    request_too_large: true,
    request_invalid: true,
  };
  const shown = rows(page("docs/answers.md"), "code");
  expect([...new Set(shown.map(([code]) => code))].sort()).toEqual(Object.keys(codes).sort());
  for (const code of Object.keys(codes) as RequestErrorCode[]) {
    const statuses = shown.filter(([name]) => name === code).flatMap(([, status = ""]) => status.split(", "));
    expect.soft(statuses, code).toContain(String(problem(code).status));
  }
});

test("4.8 docs/answers.md lists the statuses that mean not started", () => {
  for (const { gatewayNotStarted } of Object.values(PROFILES))
    expect(page("docs/answers.md").replaceAll(/\s+/g, " ")).toContain(` ${gatewayNotStarted.join(", ")}.`);
});

test("14.1 docs/operating.md lists the environment variables that `serve --help` lists", () => {
  const source = readFileSync(join(ROOT, "packages/gateway/src/cli/serve.ts"), "utf8");
  const listed = [...source.matchAll(/ONCEWARD_[A-Z_]+/g)].map(([name]) => name);
  const shown = rows(page("docs/operating.md"), "variable").map(([name]) => name);
  expect(shown.sort()).toEqual(listed.sort());
});

/** As GitHub makes them. */
function anchors(text: string): string[] {
  return [...text.replaceAll(/^```[\s\S]*?^```/gm, "").matchAll(/^#+ (.+)$/gm)].map(([, heading = ""]) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\w\- ]/g, "")
      .replaceAll(" ", "-"),
  );
}

test.each([...PAGES.keys()])("every internal link of %s leads somewhere", (name) => {
  const links = [...prose(page(name)).matchAll(/\]\(([^)\s]+)\)/g)].map(([, link = ""]) => link);
  for (const link of links.filter((each) => !/^[a-z]+:/.test(each))) {
    const [path = "", anchor] = link.split("#");
    const target = path === "" ? join(ROOT, name) : resolve(ROOT, dirname(name), path);
    expect.soft(existsSync(target), `${link}: the file`).toBe(true);
    if (anchor !== undefined) expect.soft(anchors(page(relative(ROOT, target))), link).toContain(anchor);
  }
});
