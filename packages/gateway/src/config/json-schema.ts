// The published JSON Schema of the configuration file, made from the declarations that validate it.

import { z } from "zod";
import { ACCOUNT_SHORTHANDS } from "./account-schema.js";
import { fileSchema } from "./file-schema.js";

export type JsonSchema = { readonly [name: string]: unknown };

let made: JsonSchema | undefined;

/** JSON Schema draft 2020-12 of what may be written; variables (`${VAR}`) make any setting a string too. */
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
  return { ...schema, title: "Onceward gateway configuration" };
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
