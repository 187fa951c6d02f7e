// The media type of a content type (RFC 9110 §8.3.1).

/** Without its parameters, in lower case; empty where there is none. */
export function mediaType(contentType: string | null | undefined): string {
  if (contentType === undefined || contentType === null) return "";
  const end = contentType.indexOf(";");
  return (end < 0 ? contentType : contentType.slice(0, end)).trim().toLowerCase();
}
