// The smallest HTTP messages that serve every framework: header lists and bytes.

/**
 * Header fields in wire order, repeated ones included. Names are kept as received and compare case-insensitively;
 * values are byte strings: one character a byte (ISO 8859-1), as Node and fetch give them.
 */
export type HeaderList = readonly (readonly [name: string, value: string])[];

/** A whole response. Its body is bytes, never a string. */
export interface HttpResponse {
  readonly status: number;
  readonly headers: HeaderList;
  readonly body: Uint8Array;
}

/** All values of a field, in order. `name` is given in lower case. */
export function headerValues(headers: HeaderList, name: string): string[] {
  const values: string[] = [];
  for (const [field, value] of headers)
    if (field.length === name.length && field.toLowerCase() === name) values.push(value);
  return values;
}

/** The first value of a field, or undefined. `name` is given in lower case. */
export function headerValue(headers: HeaderList, name: string): string | undefined {
  for (const [field, value] of headers) if (field.length === name.length && field.toLowerCase() === name) return value;
  return undefined;
}

/** The list without the fields for which `drop` says so; `drop` is given the name in lower case. */
export function withoutHeaders(headers: HeaderList, drop: (name: string) => boolean): HeaderList {
  return headers.filter(([name]) => !drop(name.toLowerCase()));
}
