// Reads a YAML or JSON file strictly, keeping where each value stands and which came from the environment.

import { extname } from "node:path";
import { type Alias, isAlias, isMap, isScalar, isSeq, LineCounter, type Node, type Pair, parseDocument } from "yaml";
import type { ConfigIssue, Path, Place } from "./issue.js";
import { NO_SOURCE, pathId, pathText } from "./issue.js";
import { findJsonFault } from "./json-fault.js";
import { type Environment, substitute } from "./substitution.js";
import { yamlFault } from "./yaml-fault.js";

export interface ConfigDocument {
  /** Plain data with variables put in; an empty file is an empty map. */
  readonly value: unknown;
  readonly issues: readonly ConfigIssue[];
  /** Where a value's key, or a list's item, stands; for one that is not there its closest ancestor. */
  placeOf(path: Path): Place;
  /** How a string was written before variables were put in; undefined where it holds none. */
  writtenAs(path: Path): string | undefined;
  /** The number or boolean that an unquoted `${…}` reads as, for settings that are no strings. */
  scalarAt(path: Path): number | boolean | undefined;
}

/** @param name How messages call the file. */
export function readDocument(text: string, name: string, env: Environment): ConfigDocument {
  const isJson = extname(name) === ".json";
  const lines = new LineCounter();
  // A tab may indent JSON, and one space counts as many columns.
  const source = isJson ? text.replaceAll("\t", " ") : text.replace(/^\uFEFF/, "");
  const parsed = parseDocument(source, { lineCounter: lines, version: "1.2", strict: true, prettyErrors: false });
  const placeAt = (offset: number): Place => {
    const { line, col } = lines.linePos(offset);
    return { source: name, line, column: col };
  };
  // YAML takes more than JSON is; a file named .json that only YAML can read would surprise whoever reads it next.
  const json = isJson ? findJsonFault(text) : null;
  const found =
    json !== null
      ? [json]
      : [...parsed.errors, ...parsed.warnings].map(({ code, message, pos }) =>
          yamlFault({ code, message, pos }, source),
        );
  const syntax: ConfigIssue[] = found.map(({ offset, message }) => ({ place: placeAt(offset), message }));
  // What a line is wrong in first; the rest of it follows from that.
  const issues = syntax.filter((issue, at) => syntax.findIndex(({ place }) => place.line === issue.place.line) === at);
  const reader = new TreeReader(parsed.getIn([], true) as Node | null, placeAt, env, issues);
  const value = issues.length > 0 ? {} : (reader.read() ?? {});
  return {
    value,
    issues,
    placeOf: (path) => reader.placeOf(path) ?? { source: name, line: 1, column: 1 },
    writtenAs: (path) => reader.written.get(pathId(path)),
    scalarAt: (path) => reader.scalars.get(pathId(path)),
  };
}

/** A configuration without a file. */
export function emptyDocument(): ConfigDocument {
  const place = { source: NO_SOURCE, line: null, column: null };
  return { value: {}, issues: [], placeOf: () => place, writtenAs: () => undefined, scalarAt: () => undefined };
}

/** Turns nodes into plain data. YAML's own conversion would lose the places and the quotes. */
class TreeReader {
  readonly written: Map<string, string> = new Map();
  readonly scalars: Map<string, number | boolean> = new Map();
  readonly #places = new Map<string, Place>();
  readonly #root: Node | null;
  readonly #placeAt: (offset: number) => Place;
  readonly #env: Environment;
  readonly #issues: ConfigIssue[];
  #depth = 0;
  #aliases = 0;
  readonly #anchors = new Map<string, Node>();

  constructor(root: Node | null, placeAt: (offset: number) => Place, env: Environment, issues: ConfigIssue[]) {
    this.#root = root;
    this.#placeAt = placeAt;
    this.#env = env;
    this.#issues = issues;
  }

  read(): unknown {
    return this.#value(this.#root, []);
  }

  placeOf(path: Path): Place | undefined {
    for (let length = path.length; length > 0; length -= 1) {
      const place = this.#places.get(pathId(path.slice(0, length)));
      if (place !== undefined) return place;
    }
    return undefined;
  }

  #refuse(node: Node | null, message: string): undefined {
    this.#issues.push({ place: this.#placeAt(node?.range?.[0] ?? 0), message });
    return undefined;
  }

  #value(node: Node | null, path: Path): unknown {
    if (node === null) return null;
    if (isAlias(node)) return this.#alias(node, path);
    if (node.anchor !== undefined) this.#anchors.set(node.anchor, node);
    if (this.#depth > 20) return this.#refuse(node, "this is nested too deeply for a configuration");
    this.#depth += 1;
    try {
      if (isMap<Node, Node | null>(node)) return this.#map(node.items, path);
      if (isSeq<Node>(node)) return node.items.map((item, index) => this.#item(item, [...path, index]));
      if (!isScalar(node)) return this.#refuse(node, "this is no value for a configuration");
      if (typeof node.value !== "string") return this.#plain(node, node.value);
      return this.#string(node, node.value, node.type === "PLAIN", path);
    } finally {
      this.#depth -= 1;
    }
  }

  #alias(node: Alias, path: Path): unknown {
    this.#aliases += 1;
    const target = this.#anchors.get(node.source);
    if (target === undefined) return this.#refuse(node, `there is no anchor &${node.source} before *${node.source}`);
    if (this.#aliases > 100) return this.#refuse(node, "there are more than 100 aliases; write the values themselves");
    return this.#value(target, path);
  }

  #map(items: readonly Pair<Node, Node | null>[], path: Path): Record<string, unknown> {
    // No prototype: a key named __proto__ is a key like any other, and unknown.
    const out: Record<string, unknown> = Object.create(null) as Record<string, unknown>;
    for (const { key, value } of items) {
      if (!isScalar(key) || typeof key.value !== "string") {
        const shown = isScalar(key) ? JSON.stringify(key.value) : "this";
        this.#refuse(
          key,
          `${shown} is a key of ${path.length === 0 ? "the configuration" : pathText(path)}, but keys are names`,
        );
        continue;
      }
      const inner = [...path, key.value];
      this.#places.set(pathId(inner), this.#placeAt(key.range?.[0] ?? 0));
      out[key.value] = this.#value(value, inner);
    }
    return out;
  }

  #item(node: Node, path: Path): unknown {
    this.#places.set(pathId(path), this.#placeAt(node.range?.[0] ?? 0));
    return this.#value(node, path);
  }

  #plain(node: Node, value: unknown): unknown {
    if (value === null || typeof value === "boolean" || typeof value === "number") return value;
    return this.#refuse(node, "this is no string, number, true, false, list or map; remove its tag");
  }

  #string(node: Node, text: string, unquoted: boolean, path: Path): string {
    const result = substitute(text, this.#env);
    if (!result.ok) {
      this.#refuse(node, `${pathText(path)}: ${result.fault}`);
      return text;
    }
    if (result.changed) {
      this.written.set(pathId(path), text);
      const scalar = unquoted ? scalarOf(result.text) : undefined;
      if (scalar !== undefined) this.scalars.set(pathId(path), scalar);
    }
    return result.text;
  }
}

function scalarOf(text: string): number | boolean | undefined {
  if (text === "true" || text === "false") return text === "true";
  return /^-?\d{1,15}(\.\d+)?$/.test(text) ? Number(text) : undefined;
}
