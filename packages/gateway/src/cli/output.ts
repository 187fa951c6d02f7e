// What commands print: quiet, aligned, coloured only on a terminal; a line of JSON where a machine asks.

import { styleText } from "node:util";

type Style = "bold" | "dim" | "green" | "yellow" | "red" | "cyan";

/** Whether lines on standard output may be coloured (https://no-color.org). */
function isColoured(): boolean {
  return process.stdout.isTTY === true && !process.env["NO_COLOR"] && process.env["TERM"] !== "dumb";
}

export function paint(style: Style, text: string): string {
  return isColoured() && text !== "" ? styleText(style, text, { validateStream: false }) : text;
}

export function print(line = ""): void {
  process.stdout.write(`${line}\n`);
}

export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

/** A remark for people; machines read standard output and the exit code. */
export function note(line: string): void {
  process.stderr.write(`${line}\n`);
}

export interface Cell {
  readonly text: string;
  readonly style?: Style;
}

/** Columns under their headings, as wide as their widest cell. */
export function table(headings: readonly string[], rows: readonly (readonly (string | Cell)[])[]): string {
  const cells = rows.map((row) => row.map((cell) => (typeof cell === "string" ? { text: cell } : cell)));
  const widths = headings.map((heading, column) =>
    Math.max(heading.length, ...cells.map((row) => row[column]?.text.length ?? 0)),
  );
  const line = (row: readonly Cell[]): string =>
    row
      .map(({ text, style }, column) => {
        const space = column === row.length - 1 ? "" : " ".repeat((widths[column] ?? 0) - text.length);
        return (style === undefined ? text : paint(style, text)) + space;
      })
      .join("  ")
      .trimEnd();
  return [line(headings.map((text) => ({ text, style: "dim" }))), ...cells.map(line)].join("\n");
}

/** Names and values, one a line. */
export function listing(pairs: readonly (readonly [string, string])[]): string {
  const width = Math.max(...pairs.map(([name]) => name.length));
  return pairs.map(([name, value]) => `${paint("dim", name.padEnd(width))}  ${value}`).join("\n");
}

/** What came from clients must not move the cursor or forge a line. */
export function printable(text: string): string {
  return text.replaceAll(/\p{C}|[\u2028\u2029]/gu, (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`);
}

export function instant(at: number | null): string {
  return at === null ? "–" : new Date(at).toISOString().replace(/\.\d+Z$/, "Z");
}

const UNITS = [
  ["d", 86_400],
  ["h", 3_600],
  ["min", 60],
] as const;

/** Such as `in 24 h` or `5 min ago`, rounded; exact enough to see what is old. */
export function relative(at: number, now: number): string {
  const seconds = Math.round(Math.abs(at - now) / 1000);
  // A unit counts from two of it on: "36 h" says more than "2 d".
  const [unit, size] = UNITS.find(([, length]) => seconds >= 2 * length) ?? ["s", 1];
  const text = `${Math.round(seconds / size)} ${unit}`;
  return at < now ? `${text} ago` : `in ${text}`;
}

/** A duration in the unit that it is a whole number of. */
export function durationText(ms: number): string {
  for (const [unit, length] of [
    ["d", 86_400_000],
    ["h", 3_600_000],
    ["m", 60_000],
    ["s", 1_000],
  ] as const) {
    if (ms >= length && ms % length === 0 && (unit !== "d" || ms > length)) return `${ms / length}${unit}`;
  }
  return `${ms}ms`;
}
