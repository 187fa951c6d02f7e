// What of a step's result JSON can hold, told before it is kept (SPEC §7.2).

/**
 * The JSON of a value that reads back as it is; null for undefined. What JSON would drop or change in silence is
 * refused, since a step's result must be the same whether the step was run or read back: a date, a class's instance, a
 * Map, NaN, a bigint, a hole. Properties that are undefined are left out, as everywhere in JSON.
 *
 * @throws TypeError which names the place and what to do.
 */
export function jsonOf(value: unknown): string | null {
  if (value === undefined) return null;
  assertJson(value, "", []);
  return JSON.stringify(value);
}

/** Deeper than any data, and less deep than the stack. */
const MAX_DEPTH = 500;

function assertJson(value: unknown, path: string, above: readonly object[]): void {
  if (value === null || typeof value === "string" || typeof value === "boolean") return;
  if (typeof value === "number") {
    if (Number.isFinite(value)) return;
    throw refused(path, `${value}, which is no number in JSON`);
  }
  if (typeof value !== "object") throw refused(path, value === undefined ? "undefined" : `a ${typeof value}`);
  if (above.includes(value)) throw refused(path, "a value that holds itself");
  if (above.length >= MAX_DEPTH) throw refused(path, `nested more than ${MAX_DEPTH} deep`);
  const within = [...above, value];
  if (Array.isArray(value)) {
    // By index, since holes are not among the entries.
    for (let index = 0; index < value.length; index++) assertJson(value[index], `${path}[${index}]`, within);
    return;
  }
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== null && Object.getPrototypeOf(prototype) !== null) {
    const { name } = (value as { constructor: { name?: unknown } }).constructor;
    throw refused(path, `a ${typeof name === "string" && name !== "" ? name : "class's instance"}`);
  }
  for (const [key, member] of Object.entries(value)) {
    if (member !== undefined) assertJson(member, `${path}.${key}`, within);
  }
}

function refused(path: string, what: string): TypeError {
  const place = path === "" ? "it" : `its ${path.replace(/^\./, "")}`;
  return new TypeError(`${place} is ${what}`);
}
