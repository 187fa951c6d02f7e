// Reads what the configuration points at: secrets in files and variables, PEM files.

import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import type { ConfigIssue, Path } from "./issue.js";
import { pathText } from "./issue.js";
import type { SecretSource } from "./leaf.js";
import type { Environment } from "./substitution.js";
import type { ConfigTree } from "./tree.js";

/** Follows references from the configuration and gathers what is wrong with them. */
export class Sources {
  readonly issues: ConfigIssue[] = [];
  readonly tree: ConfigTree;
  readonly #folder: string;
  readonly #env: Environment;

  /** @param folder What relative paths in the file are relative to. */
  constructor(tree: ConfigTree, folder: string, env: Environment) {
    this.tree = tree;
    this.#folder = folder;
    this.#env = env;
  }

  /** Notes a fault. `message` follows the setting's name where it starts with a space. */
  refuse(path: Path, message: string): void {
    const text = message.startsWith(" ") ? pathText(path) + message : message;
    this.issues.push({ place: this.tree.placeOf(path), message: text });
  }

  absolute(path: string): string {
    return resolve(this.#folder, path);
  }

  /** The secret, without the line break that files end in; null where it cannot be had, which is then an issue. */
  secret(source: SecretSource, path: Path): string | null {
    if ("value" in source) return source.value;
    if ("env" in source) {
      const value = this.#env[source.env];
      if (value !== undefined && value.trim() !== "") return value;
      const state = value === undefined ? "not set" : "empty";
      this.refuse([...path, "env"], ` names the environment variable ${source.env}, which is ${state}; set it`);
      return null;
    }
    const text = this.readFile(source.file, [...path, "file"]);
    if (text === null) return null;
    const value = text.replace(/\r?\n$/, "");
    if (value.trim() !== "") return value;
    this.refuse([...path, "file"], ` names ${this.absolute(source.file)}, which is empty`);
    return null;
  }

  /** A text file's content; null where it cannot be read, which is then an issue. */
  readFile(file: string, path: Path): string | null {
    const absolute = this.absolute(file);
    try {
      return readFileSync(absolute, "utf8");
    } catch (error) {
      this.refuse(path, ` names ${absolute}, which cannot be read: ${readFault(error)}`);
      return null;
    }
  }
}

/** Why a file cannot be read or written, in words. */
export function readFault(error: unknown): string {
  const code = (error as NodeJS.ErrnoException).code;
  if (code === "ENOENT") return "there is no such file";
  if (code === "EACCES" || code === "EPERM") return "permission denied";
  if (code === "EISDIR") return "it is a folder";
  if (code === "ENOTDIR") return "a part of its path is no folder";
  return error instanceof Error ? error.message : String(error);
}
