// Holds the configuration as written against its declarations and says all that is wrong, with place and fix.

import { checkPolicy, closest, OPTIONS, type OptionName, type PolicyIssue, type PolicyOptions } from "onceward";
import type { z } from "zod";
import { type ConfigFile, fileSchema, POLICY_OPTION_NAMES } from "./file-schema.js";
import { type ConfigIssue, type Path, pathText } from "./issue.js";
import { configJsonSchema, propertiesOf, schemaAt } from "./json-schema.js";
import { isMap } from "./leaf.js";
import type { ConfigTree } from "./tree.js";

interface Fault extends ConfigIssue {
  readonly path: Path;
}

export interface Checked {
  /** Null where there are issues. */
  readonly file: ConfigFile | null;
  readonly issues: readonly ConfigIssue[];
}

/** Validates the tree. Unquoted variables count as numbers or booleans where a setting wants one. */
export function checkTree(tree: ConfigTree): Checked {
  const first = checkOnce(tree);
  let replaced = false;
  for (const { path } of first.issues) {
    const scalar = tree.scalarAt(path);
    if (scalar === undefined || typeof tree.get(path) !== "string") continue;
    tree.set(path, scalar);
    replaced = true;
  }
  return replaced ? checkOnce(tree) : first;
}

/** The policy options among the settings of the file or of a route. */
export function policyOptionsOf(settings: object): PolicyOptions {
  return Object.fromEntries(Object.entries(settings).filter(([name]) => POLICY_OPTION_NAMES.has(name)));
}

/** A route with a profile of its own is that profile and nothing else; the others build on the file's options. */
export function effectiveOptions(file: PolicyOptions, route: PolicyOptions): PolicyOptions {
  return route.profile === undefined ? { ...file, ...route } : route;
}

function checkOnce(tree: ConfigTree): { file: ConfigFile | null; issues: readonly Fault[] } {
  const parsed = fileSchema.safeParse(tree.data);
  const issues = [...(parsed.error?.issues ?? []).flatMap((issue) => zodFaults(tree, issue)), ...policyFaults(tree)];
  return { file: issues.length === 0 && parsed.success ? parsed.data : null, issues };
}

function zodFaults(tree: ConfigTree, issue: z.core.$ZodIssue): Fault[] {
  const path = issue.path.map((part) => (typeof part === "symbol" ? String(part) : part));
  if (issue.code === "unrecognized_keys") return issue.keys.map((name) => unknownOption(tree, path, name));
  if (issue.code === "invalid_union") {
    // The only union is `account`, told apart by `from`.
    const names = ((issue as { options?: unknown[] }).options ?? []).filter((name) => typeof name === "string");
    return [mustBe(tree, path, names.join(", "))];
  }
  if (issue.code === "invalid_type") {
    const values =
      issue.expected === "array" ? "a list" : issue.expected === "object" ? "a map of settings" : issue.expected;
    return [mustBe(tree, path, values)];
  }
  if (issue.code === "custom" && issue.params?.["whole"] === true && tree.get(path) !== undefined) {
    const space = issue.message.startsWith(":") ? "" : " ";
    return [fault(tree, path, pathText(path) + space + tree.hide(path, issue.message))];
  }
  return [mustBe(tree, path, issue.message)];
}

function mustBe(tree: ConfigTree, path: Path, values: string): Fault {
  if (tree.get(path) === undefined) return fault(tree, path, `${pathText(path)} is missing: it must be ${values}`);
  return fault(tree, path, `${pathText(path)} is ${tree.show(path)}, but it must be ${values}`);
}

function fault(tree: ConfigTree, path: Path, message: string): Fault {
  return { path, place: tree.placeOf(path), message };
}

function unknownOption(tree: ConfigTree, path: Path, name: string): Fault {
  const known = Object.keys(propertiesOf(schemaAt(path, tree.data))).filter((option) => option !== "$schema");
  const where = path.length === 0 ? "" : ` in ${pathText(path)}`;
  const near = closest(name, known);
  const home = near === undefined ? homeOf(name, path) : undefined;
  let fix = "remove it; `onceward init` writes a file that shows what there is";
  if (near !== undefined) fix = `did you mean "${near}"?`;
  else if (home !== undefined) fix = `${home.name} stands ${home.place}`;
  else if (known.length <= 15) fix = `there are ${known.join(", ")}`;
  return fault(tree, [...path, name], `unknown option "${name}"${where}; ${fix}`);
}

/** Where an option stands that was written in the wrong place. */
function homeOf(name: string, path: Path): { readonly name: string; readonly place: string } | undefined {
  const top = propertiesOf(configJsonSchema());
  const own = path.length > 0 ? closest(name, Object.keys(top)) : undefined;
  if (own !== undefined) return { name: own, place: "at the top of the file" };
  for (const [group, schema] of Object.entries(top)) {
    const near = closest(name, Object.keys(propertiesOf(schema)));
    if (near !== undefined && group !== path[0]) return { name: near, place: `under \`${group}\`` };
  }
  return undefined;
}

function policyFaults(tree: ConfigTree): Fault[] {
  const routes = tree.data["routes"];
  const list = Array.isArray(routes) ? (routes as readonly unknown[]) : [];
  const top = policyOptionsOf(tree.data);
  const context = { surface: "gateway", hasRoutes: list.length > 0 } as const;
  const faults = checkPolicy(top, context).map((issue) => policyFault(tree, [], issue));
  const topIsFine = faults.length === 0;
  for (const [index, route] of list.entries()) {
    if (!isMap(route)) continue;
    const own = policyOptionsOf(route);
    let issues = checkPolicy(own, { ...context, hasRoutes: true });
    // What is wrong with the file's own options is said once, where they stand.
    if (issues.length === 0 && topIsFine)
      issues = checkPolicy(effectiveOptions(top, own), { ...context, hasRoutes: true });
    faults.push(...issues.map((issue) => policyFault(tree, ["routes", index], issue)));
  }
  return faults;
}

function policyFault(tree: ConfigTree, prefix: Path, issue: PolicyIssue): Fault {
  const path = [...prefix, ...issue.path];
  const name = String(issue.path[0]);
  // The message holds the value, which may have come from the environment; so it is written anew.
  if (issue.message.startsWith(`${name} is `) && Object.hasOwn(OPTIONS, name)) {
    const near = name === "profile" ? closest(String(tree.get(path)), profileNames()) : undefined;
    const hint = near === undefined ? "" : `; did you mean ${near}?`;
    return fault(
      tree,
      path,
      `${pathText(path)} is ${tree.show(path)}, but it must be ${OPTIONS[name as OptionName].values}${hint}`,
    );
  }
  const subject = issue.message.startsWith(`${pathText(path)} `) ? "" : `${pathText(path)}: `;
  return fault(tree, path, subject + issue.message);
}

function profileNames(): string[] {
  return (OPTIONS.profile.schema["enum"] as string[] | undefined) ?? [];
}
