// Records for an operator, newest first: slices of each place, merged.

import { IdempotencyError } from "../../core/errors.js";
import type { StoredRecord } from "../../core/record.js";
import type { RecordQuery } from "../../core/store.js";
import type { Slice } from "../sql/slices.js";
import { ByteReader, ByteWriter, textBytes } from "./bytes.js";
import { LIST } from "./lua/places.js";
import type { NodePlaces, Place, Places } from "./places.js";
import { readRecord, stateByte } from "./record-bytes.js";
import { Script } from "./script.js";

/** Records that a script looks at in one go, over all of a node's places. */
const LOOKED_AT = 500;
const script = new Script(LIST);

/** Where an entry stands among those of all places: by the instant and the number of its name, then by its place. */
interface Position {
  readonly ms: number;
  readonly number: number;
  readonly place: number;
}

interface PlaceSlice {
  readonly place: Place;
  readonly items: readonly { readonly at: Position; readonly record: StoredRecord }[];
  /** The last entry that was looked at; null where there are no more. */
  readonly end: Position | null;
}

/** Looks at some records before the cursor; `next` says where to go on, also where none matched. */
export async function listSlice(
  places: Places,
  common: () => readonly string[],
  query: Omit<RecordQuery, "limit">,
  limit: number,
  cursor: string | undefined,
): Promise<Slice<StoredRecord>> {
  const before = cursor === undefined ? null : positionOf(cursor);
  const filters = [
    query.state === undefined ? "" : String(stateByte(query.state)),
    query.account === undefined ? "" : textBytes(query.account),
    query.key === undefined ? "" : textBytes(query.key),
  ];
  const slices = await Promise.all(
    (await places.byNode()).map(async ({ node, places: some }) => {
      const most = Math.max(4, Math.ceil(LOOKED_AT / some.length));
      const args = [...common(), ...filters, String(limit), String(most), starts(some, before)];
      const reply = await script.run(node.send, [], args);
      return readSlices(some, reply as Buffer);
    }),
  );
  return merge(slices.flat(), limit);
}

function starts(places: NodePlaces["places"], before: Position | null): Buffer {
  const writer = new ByteWriter(32 * places.length);
  for (const { name, index } of places) {
    // Of entries of the same instant and number, those of lower places come later.
    const start = before === null ? "" : `${index < before.place ? "" : "("}${before.ms}-${before.number}`;
    writer.byte(name.length).ascii(name).byte(start.length).ascii(start);
  }
  return writer.take();
}

function readSlices(places: readonly Place[], reply: Buffer): readonly PlaceSlice[] {
  const reader = new ByteReader(reply);
  reader.double();
  return places.map((place) => {
    const items = Array.from({ length: reader.uint32() }, () => {
      const at = entryPosition(reader.ascii(reader.byte()), place);
      const id = reader.ascii(64);
      return { at, record: { ...readRecord(id, reader.block()), payload: null } };
    });
    const end = reader.ascii(reader.byte());
    return { place, items, end: end === "" ? null : entryPosition(end, place) };
  });
}

/** What stands before the first end of a slice is complete; what comes after it is left to the next ones. */
function merge(slices: readonly PlaceSlice[], limit: number): Slice<StoredRecord> {
  const ends = slices.flatMap(({ end }) => end ?? []).sort(newestFirst);
  const [end] = ends;
  const items = slices
    .flatMap((slice) => slice.items)
    .filter(({ at }) => end === undefined || newestFirst(at, end) <= 0)
    .sort((one, other) => newestFirst(one.at, other.at));
  const page = items.slice(0, limit);
  const last = items.length > limit ? page.at(-1)?.at : end;
  return {
    items: page.map(({ record }) => record),
    next: last === undefined ? null : `${last.ms}-${last.number}-${last.place}`,
  };
}

function newestFirst(one: Position, other: Position): number {
  return other.ms - one.ms || other.number - one.number || other.place - one.place;
}

function entryPosition(entry: string, { index }: Place): Position {
  const [ms, number] = entry.split("-");
  return { ms: Number(ms), number: Number(number), place: index };
}

function positionOf(cursor: string): Position {
  const [, ms, number, place] = /^(\d{1,16})-(\d{1,16})-(\d{1,4})$/.exec(cursor) ?? [];
  if (place === undefined) {
    throw new IdempotencyError("request_invalid", "The cursor is not one that a listing of records gave.");
  }
  return { ms: Number(ms), number: Number(number), place: Number(place) };
}
