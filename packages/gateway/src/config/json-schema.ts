// The published JSON Schema of the configuration file, made from the declarations that validate it.

import { z } from "zod";
import { ACCOUNT_SHORTHANDS } from "./account-schema.js";
import { fileSchema } from "./file-schema.js";
import { isMap } from "./leaf.js";

export type JsonSchema = { readonly [name: string]: unknown };

let made: JsonSchema | undefined;

/** JSON Schema draft 2020-12 of what may be written, variables (`${VAR}`) included. */
export function configJsonSchema(): JsonSchema {
  made ??= build();
  return made;
}

function build(): JsonSchema {
  const schema = z.toJSONSchema(fileSchema, { io: "input", unrepresentable: "any" }) as Record<string, unknown>;
  const properties = schema["properties"] as Record<string, Record<string, unknown>>;
  const account = properties["account"];
  if (account !== undefined) {
    const forms = account["oneOf"] as unknown[];
    account["oneOf"] = [{ enum: ACCOUNT_SHORTHANDS }, ...forms];
  }
  allowVariables(schema);
  return { ...schema, title: "Onceward gateway configuration", $defs: { variable: VARIABLE } };
}

const VARIABLE = { type: "string", pattern: "\\$\\{[A-Za-z_]", description: `\${VAR} or \${VAR:-default}` };

/** Any setting may be written as a variable, also where its value is no string or a certain one (SPEC §14.4). */
function allowVariables(schema: Record<string, unknown>): void {
  for (const name of ["oneOf", "items"]) {
    for (const form of [schema[name]].flat()) if (isMap(form)) allowVariables(form);
  }
  const properties = (schema["properties"] ?? {}) as Record<string, Record<string, unknown>>;
  for (const [name, property] of Object.entries(properties)) {
    if ("properties" in property || "items" in property || name === "account") allowVariables(property);
    else if (name !== "from" && !takesAnyString(property)) {
      const { description, default: standard, ...value } = property;
      properties[name] = {
        ...(description === undefined ? {} : { description }),
        ...(standard === undefined ? {} : { default: standard }),
        anyOf: [value, { $ref: "#/$defs/variable" }],
      };
    }
  }
}

function takesAnyString(schema: Record<string, unknown>): boolean {
  if ("pattern" in schema) return false;
  if ([schema["type"]].flat().includes("string")) return true;
  return [schema["oneOf"], schema["anyOf"]].flat().some((form) => isMap(form) && takesAnyString(form));
}

/** The schema of what stands at a path of `data`, or undefined where it is not known. */
export function schemaAt(path: readonly (string | number)[], data: unknown): JsonSchema | undefined {
  let schema: JsonSchema | undefined = configJsonSchema();
  let value = data;
  for (const part of path) {
    schema = formOf(schema, value);
    schema = (typeof part === "number" ? schema?.["items"] : propertiesOf(schema)[part]) as JsonSchema | undefined;
    value = typeof value === "object" && value !== null ? (value as Record<string | number, unknown>)[part] : undefined;
  }
  return formOf(schema, value);
}

/** The settings that may stand in a map of this schema. */
export function propertiesOf(schema: JsonSchema | undefined): Readonly<Record<string, JsonSchema>> {
  return (schema?.["properties"] ?? {}) as Readonly<Record<string, JsonSchema>>;
}

/** Of several forms told apart by `from`, the one that `value` takes. */
function formOf(schema: JsonSchema | undefined, value: unknown): JsonSchema | undefined {
  const forms = schema?.["oneOf"] as JsonSchema[] | undefined;
  if (forms === undefined || typeof value !== "object" || value === null) return schema;
  const wanted = (value as Record<string, unknown>)["from"] ?? "credential";
  return forms.find((form) => propertiesOf(form)["from"]?.["const"] === wanted) ?? schema;
}
