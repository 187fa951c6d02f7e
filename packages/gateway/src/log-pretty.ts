// One log entry as a line that people read.

const COLOURS: Readonly<Record<string, string>> = {
  debug: "\u001b[2m",
  info: "\u001b[32m",
  warn: "\u001b[33m",
  error: "\u001b[31m",
};
const DIM = "\u001b[2m";
const RESET = "\u001b[0m";

/** `12:34:56.789 info  message  name=value …`; what is no entry is passed on as it is. */
export function prettyLine(line: string, colour: boolean): string {
  let entry: Record<string, unknown>;
  try {
    entry = JSON.parse(line) as Record<string, unknown>;
  } catch {
    return line;
  }
  const { level, time, msg, err, ...fields } = entry;
  const paint = (text: string, code: string): string => (colour && text !== "" ? `${code}${text}${RESET}` : text);
  const name = String(level ?? "info");
  const clock = String(time ?? "").slice(11, 23);
  const pairs = Object.entries(fields).map(([key, value]) => `${printable(key)}=${show(value)}`);
  const parts = [
    paint(clock, DIM),
    paint(name.padEnd(5), COLOURS[name] ?? ""),
    printable(String(msg ?? "")),
    paint(pairs.join(" "), DIM),
  ];
  return `${parts.filter((part) => part !== "").join(" ")}\n${stackOf(err, paint)}`;
}

function show(value: unknown): string {
  if (typeof value === "string" && /^[\w./:@+*…[\]-]+$/.test(value)) return value;
  return printable(JSON.stringify(value) ?? "undefined");
}

function stackOf(error: unknown, paint: (text: string, code: string) => string): string {
  if (typeof error !== "object" || error === null) return "";
  const { stack, message } = error as { readonly stack?: unknown; readonly message?: unknown };
  const lines = String(stack ?? message ?? "").split("\n");
  return lines.map((text) => `${paint(`  ${printable(text)}`, DIM)}\n`).join("");
}

/** What came from a client must not move the cursor or forge a line. */
function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for.
  return text.replaceAll(/[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g, (character) => {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}
