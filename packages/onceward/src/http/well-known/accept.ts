// Which of two forms a client prefers (RFC 9110 §12.5.1).

import { type HeaderList, headerValues } from "../message.js";

/** Whether a page is wanted rather than JSON; JSON where both are as welcome, as they are to most programs. */
export function prefersHtml(headers: HeaderList): boolean {
  const ranges = headerValues(headers, "accept")
    .flatMap((value) => value.split(","))
    .map(parseRange);
  return quality(ranges, "text/html") > quality(ranges, "application/json");
}

interface Range {
  readonly type: string;
  readonly quality: number;
}

function parseRange(text: string): Range {
  const [type = "", ...parameters] = text.split(";").map((part) => part.trim().toLowerCase());
  const weight = parameters.find((parameter) => parameter.startsWith("q="));
  const quality = weight === undefined ? 1 : Number(weight.slice(2));
  return { type, quality: quality >= 0 && quality <= 1 ? quality : 0 };
}

/** The most specific range that covers the type decides. */
function quality(ranges: readonly Range[], type: string): number {
  const family = `${type.slice(0, type.indexOf("/"))}/*`;
  for (const name of [type, family, "*/*"]) {
    const range = ranges.find((candidate) => candidate.type === name);
    if (range !== undefined) return range.quality;
  }
  return 0;
}
