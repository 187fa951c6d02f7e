// The configuration as written: the file with environment variables and flags laid over it, each with its place.

import { type ConfigDocument, emptyDocument } from "./document.js";
import { type ConfigIssue, type Path, type Place, pathId } from "./issue.js";
import { isMap } from "./leaf.js";
import { showStoreUrl } from "./store-url.js";
import type { Environment } from "./substitution.js";

/** The flags of SPEC §14.1 that set something; what is undefined was not given. */
export interface ConfigFlags {
  readonly upstream?: string | undefined;
  readonly listen?: string | undefined;
  readonly admin?: string | undefined;
  readonly store?: string | undefined;
  readonly profile?: string | undefined;
}

/** Settings that a flag or a variable can give; a flag beats the environment beats the file. */
const OVERRIDES: readonly { readonly path: Path; readonly flag?: keyof ConfigFlags; readonly variable: string }[] = [
  { path: ["upstream"], flag: "upstream", variable: "ONCEWARD_UPSTREAM" },
  { path: ["listen"], flag: "listen", variable: "ONCEWARD_LISTEN" },
  { path: ["admin"], flag: "admin", variable: "ONCEWARD_ADMIN" },
  { path: ["store"], flag: "store", variable: "ONCEWARD_STORE" },
  { path: ["profile"], flag: "profile", variable: "ONCEWARD_PROFILE" },
  { path: ["adminToken"], variable: "ONCEWARD_ADMIN_TOKEN" },
  { path: ["namespace"], variable: "ONCEWARD_NAMESPACE" },
  { path: ["log", "level"], variable: "ONCEWARD_LOG_LEVEL" },
];

const SECRETS: ReadonlySet<string | number> = new Set(["adminToken", "encryption", "accountKey", "secret", "key"]);

/** How to give a setting otherwise than in the file, for messages about missing ones. */
export function otherWays(name: string): string {
  const override = OVERRIDES.find(({ path }) => path.length === 1 && path[0] === name);
  if (override === undefined) return `set \`${name}\``;
  const flag = override.flag === undefined ? "" : `, --${override.flag}`;
  return `set \`${name}\`${flag} or ${override.variable}`;
}

export class ConfigTree {
  readonly data: Record<string, unknown>;
  readonly issues: readonly ConfigIssue[];
  readonly #document: ConfigDocument;
  readonly #overrides = new Map<string, Place>();

  constructor(document: ConfigDocument | null, flags: ConfigFlags, env: Environment) {
    this.#document = document ?? emptyDocument();
    this.issues = isMap(this.#document.value)
      ? this.#document.issues
      : [
          ...this.#document.issues,
          { place: this.#document.placeOf([]), message: "this is no map of settings; write `name: value` lines" },
        ];
    this.data = isMap(this.#document.value) ? this.#document.value : {};
    // `account: single` says all there is to say.
    if (typeof this.data["account"] === "string") this.data["account"] = { from: this.data["account"] };
    for (const { path, flag, variable } of OVERRIDES) {
      const given = flag === undefined ? undefined : flags[flag];
      if (given !== undefined) this.#override(path, given, `--${flag}`);
      // An empty variable is one that was not meant to be set, as in a compose file.
      else if (env[variable] !== undefined && env[variable] !== "") {
        this.#override(path, env[variable], `${variable} (environment)`);
      }
    }
  }

  #override(path: Path, value: string, source: string): void {
    this.#overrides.set(pathId(path), { source, line: null, column: null });
    this.set(path, value);
  }

  /** Whether a flag or a variable gave it, so that a relative path in it is relative to where the command was typed. */
  isOverride(path: Path): boolean {
    return this.#overrides.has(pathId(path));
  }

  get(path: Path): unknown {
    let value: unknown = this.data;
    for (const part of path) {
      if (typeof value !== "object" || value === null) return undefined;
      value = Object.hasOwn(value, part) ? (value as Record<string | number, unknown>)[part] : undefined;
    }
    return value;
  }

  /** Sets it where what is around it is a map or a list, or is not there yet; else whoever validates that says so. */
  set(path: Path, value: unknown): void {
    let holder: Record<string | number, unknown> = this.data;
    for (const part of path.slice(0, -1)) {
      holder[part] ??= {};
      const inner = holder[part];
      if (typeof inner !== "object" || inner === null) return;
      holder = inner as Record<string | number, unknown>;
    }
    const last = path.at(-1);
    if (last !== undefined) holder[last] = value;
  }

  placeOf(path: Path): Place {
    return this.#overrides.get(pathId(path)) ?? this.#document.placeOf(path);
  }

  scalarAt(path: Path): number | boolean | undefined {
    return this.#document.scalarAt(path);
  }

  /** The value for a message: secrets as `***`, what came from the environment as it is written in the file. */
  show(path: Path): string {
    const value = this.#masked(path);
    if (value === null) return "empty";
    const text = JSON.stringify(value) ?? String(value);
    return text.length > 60 ? `${text.slice(0, 59)}…` : text;
  }

  /** A message that may quote the value, with what came from the environment as it is written in the file. */
  hide(path: Path, message: string): string {
    const written = this.#overrides.has(pathId(path)) ? undefined : this.#document.writtenAs(path);
    const value = this.get(path);
    if (written === undefined || typeof value !== "string" || value === "") return message;
    return [showStoreUrl(value), value].reduce((text, part) => text.replaceAll(part, () => written), message);
  }

  #masked(path: Path): unknown {
    const value = this.get(path);
    if (path.some((part) => SECRETS.has(part)) && value !== null) return "***";
    if (Array.isArray(value)) return value.map((_, index) => this.#masked([...path, index]));
    if (isMap(value))
      return Object.fromEntries(Object.keys(value).map((name) => [name, this.#masked([...path, name])]));
    const written = this.#overrides.has(pathId(path)) ? undefined : this.#document.writtenAs(path);
    return written ?? (typeof value === "string" ? showStoreUrl(value) : value);
  }
}
