// Runs the command lines of the documents with the real curl, the host of their URL replaced.

import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface CurlAnswer {
  readonly status: number;
  /** The status line and the header fields, as received. */
  readonly head: string;
  readonly body: string;
}

/**
 * Runs a shell command as a document has it, placeholders and line breaks included. Only the scheme and host of its URL
 * are replaced, and curl is told to write the answer's head to a file and to stop after 20 seconds.
 */
export async function curl(
  command: string,
  replace: { readonly from: string; readonly to: string },
): Promise<CurlAnswer> {
  if (!command.startsWith("curl ") || !command.includes(replace.from))
    throw new Error("not a curl command of that host");
  const folder = await mkdtemp(join(tmpdir(), "onceward-curl-"));
  const head = join(folder, "head");
  const options = `curl --silent --show-error --noproxy '*' --max-time 20 --dump-header '${head}'`;
  // A trailing backslash, which one of the documents has, would go on to a line that is not there.
  const line = command
    .replace(replace.from, replace.to)
    .replace(/^curl/, options)
    .replace(/\\\s*$/, "");
  try {
    const body = await shell(line);
    const text = await readFile(head, "latin1");
    return { status: Number(/^HTTP\/1\.1 (\d{3})/.exec(text)?.[1]), head: text, body };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function shell(line: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn("sh", ["-c", line], { stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    let errors = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      output += text;
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      errors += text;
    });
    child.once("error", reject);
    child.once("close", (code) =>
      code === 0 ? resolve(output) : reject(new Error(`curl ended with ${code}: ${errors}`)),
    );
  });
}
