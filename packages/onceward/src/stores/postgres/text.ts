// Strings as any PostgreSQL can hold them exactly, whatever its encoding, and people can read them.

/** Where a string begins so, what follows is its UTF-16 in base64. */
const CODED = "utf16:";
const PLAIN = /^[\x20-\x7e]+$/;

/** Between the texts of a list, which hold no such character. */
const SEPARATOR = "\n";
/** In place of a text that is null. */
const NULL = "\t";

/**
 * A string as it is kept: itself where it is printable ASCII, as keys and most labels are; else coded, since text holds
 * no NUL, no lone surrogate, and only what the database's encoding has. Equal ones stay equal; none is empty.
 */
export function keptText(value: string): string {
  if (PLAIN.test(value) && !value.startsWith(CODED)) return value;
  return CODED + Buffer.from(value, "utf16le").toString("base64");
}

/** A string as it was before it was kept. */
export function readText(kept: string): string {
  return kept.startsWith(CODED) ? Buffer.from(kept.slice(CODED.length), "base64").toString("utf16le") : kept;
}

/** JSON in ASCII, which every encoding has. */
export function asciiJson(value: unknown): string {
  return JSON.stringify(value).replace(/[\x7f-\uffff]/g, (unit) => {
    return `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}

/** Kept texts as one parameter, for {@link textsIn}. */
export function joinTexts(texts: readonly (string | null)[]): string {
  return texts.map((text) => text ?? NULL).join(SEPARATOR);
}

/** SQL: the array of texts that a parameter holds. */
export function textsIn(parameter: string): string {
  return `string_to_array(${parameter}::text, E'\\n', E'\\t')`;
}

/** Numbers as one parameter, for a cast to an array. */
export function joinNumbers(numbers: readonly (number | null)[]): string {
  return `{${numbers.map((number) => number ?? "NULL").join(",")}}`;
}
