// Places: parts of the keys that lie together, one on a single server and 1,024 in a cluster, spread evenly over its slots.

import { IdempotencyError } from "../../core/errors.js";
import type { RecordId } from "../../core/record.js";
import { ByteWriter } from "./bytes.js";
import type { RedisLink, RedisNode } from "./link.js";

/** A part of the keys: all of it is in one slot. */
export interface Place {
  readonly index: number;
  /** What stands between the prefix and the names of its keys. */
  readonly name: string;
  readonly slot: number;
}

/** Places that are on one node. */
export interface NodePlaces {
  readonly node: RedisNode;
  readonly places: readonly Place[];
}

const SLOTS = 16_384;
/** So many that even a cluster of the largest size has one for each node. Never to be changed: keys have it in them. */
const PLACES = 1_024;

const ONLY: Place = { index: 0, name: "", slot: 0 };

export class Places {
  readonly all: readonly Place[];
  readonly #link: RedisLink;
  readonly #prefix: string;

  constructor(link: RedisLink, prefix: string) {
    this.#link = link;
    this.#prefix = prefix;
    this.all = link.clustered ? spread() : [ONLY];
  }

  /** Where a record is: by the first bits of its id, which is a digest. */
  of(id: RecordId): Place {
    return this.all[this.all.length === 1 ? 0 : Number.parseInt(id.slice(0, 3), 16) >> 2] ?? ONLY;
  }

  /** The node of a place, connected to again where its connection was lost; null where the client does not find it. */
  async nodeOf(place: Place): Promise<RedisNode | null> {
    const known = this.#link.node(this.#link.nameOf(place.slot));
    if (known !== null) return known;
    const key = `${this.#prefix}${place.name}records`;
    // Sent through the client, which looks for the node.
    await this.#link.send(key, "exists", key).catch(() => null);
    return this.#link.node(this.#link.nameOf(place.slot));
  }

  /** All places, by the node that they are on. Rejects with `store_unavailable` where one cannot be found. */
  async byNode(): Promise<readonly NodePlaces[]> {
    const groups = new Map<string, Place[]>();
    for (const place of this.all) {
      const name = this.#link.nameOf(place.slot);
      const group = groups.get(name);
      if (group === undefined) groups.set(name, [place]);
      else group.push(place);
    }
    return Promise.all(
      [...groups.values()].map(async (places) => {
        const node = await this.nodeOf(places[0] ?? ONLY);
        if (node !== null) return { node, places };
        throw new IdempotencyError("store_unavailable", `The node of ${places.length} parts of the keys is not found.`);
      }),
    );
  }
}

/** Places as scripts take them. */
export function placesArgument(places: readonly Place[]): Buffer {
  const writer = new ByteWriter(8 * places.length);
  for (const { name } of places) writer.byte(name.length).ascii(name);
  return writer.take();
}

let spreadPlaces: readonly Place[] | undefined;

/**
 * One place for each 16 slots that follow each other, named after the lowest number whose hash tag has one of them: the
 * same on all nodes and in all versions.
 */
function spread(): readonly Place[] {
  if (spreadPlaces !== undefined) return spreadPlaces;
  const places: Place[] = [];
  for (let number = 0, left = PLACES; left > 0; number++) {
    const slot = crc16(String(number)) % SLOTS;
    const index = Math.floor((slot * PLACES) / SLOTS);
    if (places[index] !== undefined) continue;
    places[index] = { index, name: `{${number}}:`, slot };
    left--;
  }
  spreadPlaces = places;
  return places;
}

/** https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#appendix-a-crc16-reference-implementation-in-ansi-c */
function crc16(text: string): number {
  let crc = 0;
  for (let index = 0; index < text.length; index++) {
    crc ^= text.charCodeAt(index) << 8;
    for (let bit = 0; bit < 8; bit++) crc = crc & 0x8000 ? ((crc << 1) ^ 0x1021) & 0xffff : (crc << 1) & 0xffff;
  }
  return crc;
}
