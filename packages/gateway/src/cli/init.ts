// `onceward init`: writes a commented configuration file, and never over one that is there.

import { writeFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { type Command, Option } from "commander";
import { readFault } from "../config/sources.js";
import { CommandFailure } from "./faults.js";
import { initialFile, schemaSeenFrom } from "./init-file.js";
import { print } from "./output.js";

/** As it is installed with this command. */
const SCHEMA = fileURLToPath(new URL("../../schema/onceward.schema.json", import.meta.url));

export function addInit(program: Command): void {
  program
    .command("init")
    .description("write a commented configuration file")
    .argument("[file]", "where", "onceward.yaml")
    .addOption(new Option("--stdout", "print it instead"))
    .action(init);
}

function init(file: string, flags: { readonly stdout?: boolean }): void {
  if (flags.stdout === true) {
    process.stdout.write(initialFile(null));
    return;
  }
  const path = resolve(file);
  if (path.endsWith(".json")) throw new CommandFailure("JSON has no comments: name a .yaml file", 2);
  try {
    // "wx" so that nobody's file is lost to a race either.
    writeFileSync(path, initialFile(schemaSeenFrom(dirname(path), SCHEMA)), { flag: "wx" });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") {
      throw new CommandFailure(`${file} is there already and was left as it is; name another file, or remove it first`);
    }
    throw new CommandFailure(`cannot write ${file}: ${readFault(error)}`);
  }
  print(
    `${file} written; set \`upstream\`, then: onceward serve${file === "onceward.yaml" ? "" : ` --config ${file}`}`,
  );
}
