// Fingerprints: the digest of a request that a reused key is compared with (SPEC §5.6).

import { createHash, type Hash } from "node:crypto";

import { IdempotencyError } from "../core/errors.js";
import { canonicalJson } from "./canonical-json.js";
import { canonicalValue, canonicalValueFields } from "./canonical-value.js";
import { canonicalFields, type FieldPath, parseFieldPath } from "./json-fields.js";

/** `exact` bytes, the body's canonical `json`, `off`, or fields of a JSON body as `parseFieldPath` reads them. */
export type FingerprintMode = "exact" | "json" | "off" | readonly string[];

/** What of a request is compared beside its body. */
export interface FingerprintRequest {
  readonly method: string;
  /** Path with query, as received. */
  readonly target: string;
  readonly contentType: string | undefined;
}

/** A fingerprint that is being computed while the body arrives. */
export interface FingerprintDigest {
  /** The next bytes of the body, which must not change before {@link digest}. */
  update(chunk: Uint8Array): void;
  /** The fingerprint: a version tag, a colon, 64 hexadecimal digits. Called once, after the last bytes. */
  digest(): string;
}

/**
 * Bodies beyond this many bytes are compared by their exact bytes under every mode: a canonical form needs the whole
 * body in memory several times over.
 */
export const MAX_CANONICAL_BYTES: number = 1_048_576;

/**
 * Starts a request's fingerprint, or answers null under `off`.
 *
 * The tag names the mode, not the form that a body happened to have: a body that `json` or a list of fields cannot be
 * applied to (not JSON by its media type or its bytes, members of one name, too deep or too large) is hashed by its
 * exact bytes under the same tag. Otherwise such a body would not be comparable with the JSON one before it, and would
 * be taken for a duplicate. A list of fields replaces the media type and the body; method, path and query stay.
 *
 * @throws IdempotencyError `config_invalid` where a field is malformed.
 */
export function startFingerprint(mode: FingerprintMode, request: FingerprintRequest): FingerprintDigest | null {
  if (mode === "off") return null;
  const type = mediaType(request.contentType);
  if (mode === "exact") return new ExactDigest("x1", request, type);
  const fields = mode === "json" ? null : compileFields(mode);
  const tag = fields === null ? "j1" : `f1.${fields.tag}`;
  if (!isJson(type)) return new ExactDigest(tag, request, type);
  return new CanonicalDigest(tag, request, type, fields?.paths ?? null);
}

/**
 * The fingerprint where a framework leaves only a parsed body: of its canonical form, or of some of its `fields`.
 * Its tag differs, since a parser may have rounded numbers and dropped what it does not know.
 */
export function fingerprintParsed(request: FingerprintRequest, value: unknown, fields?: readonly string[]): string {
  if (fields === undefined) {
    return seal("p1", start("v", request, mediaType(request.contentType)).update(canonicalValue(value)));
  }
  const compiled = compileFields(fields);
  return seal(`p1.${compiled.tag}`, start("f", request, "").update(canonicalValueFields(value, compiled.paths)));
}

class ExactDigest implements FingerprintDigest {
  private readonly tag: string;
  private readonly hash: Hash;

  constructor(tag: string, request: FingerprintRequest, type: string) {
    this.tag = tag;
    this.hash = start("x", request, type);
  }

  update(chunk: Uint8Array): void {
    this.hash.update(chunk);
  }

  digest(): string {
    return seal(this.tag, this.hash);
  }
}

/** Gathers the body up to the bound; beyond it, hashes exact bytes and keeps nothing. */
class CanonicalDigest implements FingerprintDigest {
  private readonly tag: string;
  private readonly request: FingerprintRequest;
  private readonly type: string;
  private readonly paths: readonly FieldPath[] | null;
  private chunks: Uint8Array[] = [];
  private bytes = 0;
  private exact: ExactDigest | null = null;

  constructor(tag: string, request: FingerprintRequest, type: string, paths: readonly FieldPath[] | null) {
    this.tag = tag;
    this.request = request;
    this.type = type;
    this.paths = paths;
  }

  update(chunk: Uint8Array): void {
    if (this.exact !== null) {
      this.exact.update(chunk);
      return;
    }
    this.chunks.push(chunk);
    this.bytes += chunk.length;
    if (this.bytes > MAX_CANONICAL_BYTES) this.exact = this.fallBack();
  }

  digest(): string {
    if (this.exact !== null) return this.exact.digest();
    const body = join(this.chunks, this.bytes);
    if (this.paths === null) {
      const canonical = canonicalJson(body);
      if (canonical !== null) return seal(this.tag, start("j", this.request, this.type).update(canonical));
    } else {
      const canonical = canonicalFields(body, this.paths);
      if (canonical !== null) return seal(this.tag, start("f", this.request, "").update(canonical));
    }
    return this.fallBack().digest();
  }

  private fallBack(): ExactDigest {
    const exact = new ExactDigest(this.tag, this.request, this.type);
    for (const chunk of this.chunks) exact.update(chunk);
    this.chunks = [];
    return exact;
  }
}

/**
 * A hash that has been given all but the body. Each part has its length before it, and the body comes last, so that no
 * two requests give the same bytes; `form` keeps the forms a body can be hashed in apart.
 */
function start(form: string, { method, target }: FingerprintRequest, type: string): Hash {
  const head = `${form}${method.length}:${method}${target.length}:${target}${type.length}:${type}`;
  return createHash("sha256").update(head);
}

function seal(tag: string, hash: Hash): string {
  return `${tag}:${hash.digest("hex")}`;
}

/** The media type without its parameters, in lower case (SPEC §5.6). */
function mediaType(contentType: string | undefined): string {
  if (contentType === undefined) return "";
  const end = contentType.indexOf(";");
  return (end < 0 ? contentType : contentType.slice(0, end)).trim().toLowerCase();
}

/** RFC 8259 and the `+json` suffix (RFC 6839). */
function isJson(type: string): boolean {
  return type === "application/json" || type.endsWith("+json") || type === "text/json";
}

function join(chunks: readonly Uint8Array[], bytes: number): Uint8Array {
  const first = chunks[0];
  if (chunks.length === 1 && first !== undefined) return first;
  const body = new Uint8Array(bytes);
  let at = 0;
  for (const chunk of chunks) {
    body.set(chunk, at);
    at += chunk.length;
  }
  return body;
}

interface CompiledFields {
  /** A short digest of the list: digests of different fields cannot be compared. */
  readonly tag: string;
  readonly paths: readonly FieldPath[];
}

/** Policies live as long as the process, and so does what was made of their lists. */
const compiledFields = new WeakMap<readonly string[], CompiledFields>();

function compileFields(fields: readonly string[]): CompiledFields {
  const known = compiledFields.get(fields);
  if (known !== undefined) return known;
  const byName = new Map<string, FieldPath>();
  for (const field of fields) {
    const path = parseFieldPath(field);
    if (path === null) {
      throw new IdempotencyError(
        "config_invalid",
        `fingerprint: ${JSON.stringify(field)} is no field; write a.b or /a/b`,
      );
    }
    // The order and the spelling of the list mean nothing.
    byName.set(JSON.stringify(path), path);
  }
  const names = [...byName.keys()].sort();
  const compiled: CompiledFields = {
    tag: createHash("sha256").update(names.join("\n")).digest("hex").slice(0, 8),
    paths: names.map((name) => byName.get(name) ?? []),
  };
  compiledFields.set(fields, compiled);
  return compiled;
}
