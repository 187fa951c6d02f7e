// Small HTML pages: text is escaped unless it is markup of our own.

import { createHash } from "node:crypto";

/** Markup that is safe to put into a page as it is. */
export interface Html {
  readonly markup: string;
}

/** A template whose texts are escaped, for content and for attributes in double quotes. */
export function html(literals: TemplateStringsArray, ...values: readonly (string | Html)[]): Html {
  let markup = literals[0] ?? "";
  for (const [index, value] of values.entries()) {
    markup += (typeof value === "string" ? escapeHtml(value) : value.markup) + (literals[index + 1] ?? "");
  }
  return { markup };
}

export function joined(parts: readonly Html[]): Html {
  return { markup: parts.map((part) => part.markup).join("\n") };
}

export function htmlPage(title: string, content: Html): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${escapeHtml(title)}</title>
<style>${STYLE}</style>
</head>
<body>
<main>
${content.markup}
</main>
</body>
</html>
`;
}

const STYLE = `
:root { color-scheme: light dark; --line: light-dark(#d9dce1, #3a3f47); --soft: light-dark(#5a6270, #a2aab6); }
body { margin: 0; font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 50rem; margin: 0 auto; padding: 2rem 1rem 4rem; }
h1 { font-size: 1.6rem; margin: 0 0 1rem; }
h2 { font-size: 1.05rem; margin: 2rem 0 .5rem; overflow-wrap: anywhere; }
small, th { color: var(--soft); font-weight: normal; }
table { border-collapse: collapse; width: 100%; }
th, td { border-top: 1px solid var(--line); padding: .35rem .75rem .35rem 0; text-align: left; vertical-align: top; overflow-wrap: anywhere; }
th { width: 15rem; }
`;

const styleHash = createHash("sha256").update(STYLE).digest("base64");

/** What a page may load and do: its own style, nothing else. */
export const PAGE_CSP: string = `default-src 'none'; style-src 'sha256-${styleHash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`;

function escapeHtml(text: string): string {
  return text.replaceAll(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
