// Says what is wrong with a text as YAML in words for whoever wrote it; the parser's own speak of its grammar.

export interface YamlFault {
  /** Counted from 0, in UTF-16 units. */
  readonly offset: number;
  readonly message: string;
}

interface ParserFault {
  readonly code: string;
  readonly message: string;
  readonly pos: readonly [number, number];
}

export function yamlFault({ code, message, pos: [offset] }: ParserFault, source: string): YamlFault {
  if (source.startsWith(`$\{`, offset - 1))
    return { offset, message: `a \${VARIABLE} within { } or [ ] needs quotes around it` };
  switch (code) {
    case "DUPLICATE_KEY":
      return { offset, message: "this key stands here a second time; remove one of the two" };
    case "TAB_AS_INDENT":
      return { offset, message: "a tab indents this line; YAML allows spaces only" };
    case "MULTIPLE_DOCS":
      return { offset, message: "a second document starts here; a configuration is one" };
    case "BLOCK_AS_IMPLICIT_KEY":
      return nested(message, offset, source);
    case "MULTILINE_IMPLICIT_KEY":
      return { offset, message: "this line has no colon and space after its name; write `name: value`" };
    case "MISSING_CHAR":
      // A line between a list's dash and what stands after it.
      if (message.startsWith("Sequence item without")) return indented(lineStart(source, offset), source);
      break;
    case "BAD_INDENT":
      // The others of this code are lists and maps in brackets that are not closed.
      if (message.startsWith("All ")) return indented(lineStart(source, offset), source);
      break;
  }
  return { offset, message: message.endsWith(".") ? message.slice(0, -1) : message };
}

/** A map or a list begins where there is a value already: one in the same line, or lines that are indented too far. */
function nested(message: string, offset: number, source: string): YamlFault {
  if (!message.startsWith("Nested mappings")) return indented(lineStart(source, offset), source);
  const lineEnd = source.indexOf("\n", offset);
  // The address as it is written elsewhere.
  if (/^memory:\s*$/m.test(source.slice(offset, lineEnd < 0 ? undefined : lineEnd)))
    return { offset, message: "a value that ends with a colon needs quotes around it; a store in memory is `memory`" };
  if (lineEnd < 0 || /:(\s|$)/.test(source.slice(offset, lineEnd).replace(/\s#.*/, "")))
    return { offset, message: "a value that holds a colon and a space needs quotes around it" };
  return indented(lineEnd + 1, source);
}

/** @param start Of the line, or of empty ones before it. */
function indented(start: number, source: string): YamlFault {
  const offset = firstOf(source, start);
  const line = source.slice(lineStart(source, offset), offset);
  const isItem = /^-\s/.test(source.slice(offset, offset + 2));
  const above = columnAbove(source, lineStart(source, offset), isItem);
  return {
    offset,
    message: `this line is indented differently from the one above (it starts in column ${line.length + 1}, that one in column ${above}): lines that belong together start in the same column`,
  };
}

/** Where the closest line above begins that holds something; a setting after a list's dash begins behind the dash. */
function columnAbove(source: string, start: number, asItem: boolean): number {
  const lines = source.slice(0, start).split("\n");
  const line = lines.findLast((text) => /^\s*[^\s#]/.test(text)) ?? "";
  const lead = (asItem ? /^\s*/ : /^\s*(-\s+)*/).exec(line)?.[0] ?? "";
  return lead.length + 1;
}

function lineStart(source: string, offset: number): number {
  return source.lastIndexOf("\n", offset - 1) + 1;
}

/** The first character from `start` on that is neither white space nor in a comment. */
function firstOf(source: string, start: number): number {
  const skipped = /^(?:\s|#[^\n]*)*/.exec(source.slice(start))?.[0].length ?? 0;
  return Math.min(start + skipped, source.length);
}
