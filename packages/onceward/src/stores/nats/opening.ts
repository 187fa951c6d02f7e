// Opens a bucket: creates it, or sees that the one that is there is Onceward's own and fit to keep records.

import { setTimeout as sleep } from "node:timers/promises";
import { IdempotencyError } from "../../core/errors.js";
import type { Durability } from "../../core/store.js";
import type { NatsAccess, NatsBucket } from "./bucket.js";
import type { NatsStreamConfig, NatsStreamInfo } from "./client.js";
import { cannotOpen, isMissing, isTaken, isTooSoon } from "./faults.js";
import type { NatsSettings } from "./settings.js";

/** The number of the bucket's layout; a bucket of a higher one is not touched. */
const LAYOUT = 1;
/** Holds whose bucket it is, and of which layout. */
const META_KEY = "meta";
const OLDEST_SERVER = [2, 9, 0] as const;
const ATOMIC_REPLICAS = [2, 9, 21] as const;
/** How long a cluster may take to come together, and a stream that was made just now to get a leader. */
const READY_WITHIN_MS = 10_000;
/** A record's labels must fit one message, whatever they are. */
const LEAST_DATA_BYTES = 16 * 1024;

/** The stream of a bucket as `jsm.streams.add()` takes it; a KV bucket that KV clients and the `nats` tool know. */
export function streamConfig(bucket: string, replicas: number): NatsStreamConfig {
  return {
    name: `KV_${bucket}`,
    description: "Onceward's records",
    subjects: [`$KV.${bucket}.>`],
    storage: "file",
    retention: "limits",
    discard: "new",
    max_msgs_per_subject: 1,
    num_replicas: replicas,
    allow_rollup_hdrs: true,
    deny_delete: true,
    allow_direct: true,
  };
}

/**
 * Answers what the bucket's storage can promise.
 *
 * @throws IdempotencyError `store_inaccessible`, `store_unsuitable`, `store_foreign` or `store_schema_newer`, each with
 * the fix.
 */
export async function openBucket(bucket: NatsBucket, settings: NatsSettings): Promise<Durability> {
  assertServer(bucket.access);
  for (const until = performance.now() + READY_WITHIN_MS; ; ) {
    try {
      return await opened(bucket, settings);
    } catch (error) {
      if (!isTooSoon(error) || performance.now() > until) {
        throw cannotOpen(bucket.stream, `open bucket ${settings.bucket}`, error);
      }
      await sleep(100);
    }
  }
}

async function opened(bucket: NatsBucket, settings: NatsSettings): Promise<Durability> {
  const info = await stream(bucket, settings);
  assertAtomic(bucket.access, info.config.num_replicas);
  assertFit(info, settings);
  bucket.opened(info.config.max_msg_size ?? -1);
  if (bucket.longestData(0) < LEAST_DATA_BYTES) throw tooSmall(settings.bucket);
  await mark(bucket, info, settings.bucket);
  return durabilityOf(info, settings);
}

function assertServer({ connection }: NatsAccess): void {
  if (connection.isClosed() || connection.info === undefined) {
    const reason = "The connection to NATS is closed: give natsStore one that is open (`await connect({ servers })`).";
    throw new IdempotencyError("store_inaccessible", reason);
  }
  const { version } = connection.info;
  if (isBefore(version, OLDEST_SERVER)) {
    throw new IdempotencyError("store_unsuitable", `nats-server ${version} is older than 2.9: upgrade it.`);
  }
}

/** P1 rests on compare-and-set. */
function assertAtomic({ connection }: NatsAccess, replicas: number): void {
  const version = connection.info?.version ?? "";
  if (replicas === 1 || !isBefore(version, ATOMIC_REPLICAS)) return;
  const reason =
    `nats-server ${version} lets several writers of a key win at once where the bucket has replicas ` +
    "(nats-io/nats-server issue 4320), so that one operation would run twice: upgrade all servers to 2.9.21 or later, or " +
    "use a bucket with replicas 1.";
  throw new IdempotencyError("store_unsuitable", reason);
}

function isBefore(version: string, least: readonly number[]): boolean {
  const parts = version.split(".").map((part) => Number.parseInt(part, 10));
  const at = least.findIndex((part, index) => part !== parts[index]);
  return at !== -1 && !((parts[at] ?? 0) > (least[at] ?? 0));
}

async function stream(own: NatsBucket, { bucket, replicas, migrate }: NatsSettings): Promise<NatsStreamInfo> {
  const { streams } = await own.manager();
  try {
    return await streams.info(own.stream);
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
  assertAtomic(own.access, replicas);
  if (!migrate) {
    const command = `nats kv add ${bucket} --history 1 --storage file --replicas ${replicas}`;
    const reason = `The NATS bucket ${bucket} is missing. Create it (\`${command}\`), or leave out \`migrate: false\`.`;
    throw new IdempotencyError("store_inaccessible", reason);
  }
  try {
    return await streams.add(streamConfig(bucket, replicas));
  } catch (error) {
    // By another node, at the same moment, with other settings.
    if (!isTaken(error)) throw error;
    return streams.info(own.stream);
  }
}

function assertFit({ config }: NatsStreamInfo, { bucket }: NatsSettings): void {
  const unsuitable = (reason: string) =>
    new IdempotencyError("store_unsuitable", `The NATS bucket ${bucket} cannot keep records: ${reason}.`);
  const another = "Create another one for Onceward, or leave that to it by naming one that is not there";
  if (config.mirror !== undefined && config.mirror !== null) {
    throw unsuitable("it is a read-only mirror. Name the bucket that it mirrors");
  }
  if (config.sealed) throw unsuitable(`it is sealed. ${another}`);
  if (config.subjects?.length !== 1 || config.subjects[0] !== `$KV.${bucket}.>`) {
    throw unsuitable(`it is not a plain KV bucket (its subjects are ${config.subjects?.join(", ")}). ${another}`);
  }
  if (config.retention !== "limits")
    throw unsuitable(`its retention is "${config.retention}", not "limits". ${another}`);
  if (config.deny_purge) throw unsuitable(`it denies purging, by which keys are given back. ${another}`);
  if (config.discard !== "new" && (config.max_bytes > 0 || config.max_msgs > 0)) {
    throw unsuitable('it discards old records where it is full. Set its discard policy to "new"');
  }
  if (config.max_age > 0) {
    const reason = "would delete records, and what all nodes share, whatever their retention says";
    throw unsuitable(`its TTL of ${config.max_age / 1e9} s ${reason}. Give it none: expired records are purged`);
  }
  if (config.no_ack === true) throw unsuitable(`it acknowledges no writes (no_ack). ${another}`);
}

function tooSmall(bucket: string): IdempotencyError {
  const reason =
    "messages are too small, by the server's max_payload or the bucket's max_msg_size: allow 32 KiB or more";
  return new IdempotencyError("store_unsuitable", `The NATS bucket ${bucket} cannot keep records: ${reason}.`);
}

/** Puts Onceward's mark on an empty bucket, and reads it on any other. */
async function mark(bucket: NatsBucket, info: NatsStreamInfo, name: string): Promise<void> {
  const decoder = new TextDecoder();
  let found = await bucket.get(META_KEY);
  if (found === null && info.state.messages === 0) {
    const meta = new TextEncoder().encode(JSON.stringify({ store: "onceward", layout: LAYOUT }));
    if ((await bucket.put(META_KEY, 0, META_KEY, meta)) !== null) return;
    // Another node was first.
    found = await bucket.get(META_KEY);
  }
  const meta =
    found?.note === META_KEY ? (JSON.parse(decoder.decode(found.data)) as { readonly layout: number }) : null;
  if (meta === null) {
    const reason = `The NATS bucket ${name} holds something that is not Onceward's: name another one (option \`bucket\`).`;
    throw new IdempotencyError("store_foreign", reason);
  }
  if (meta.layout <= LAYOUT) return;
  const reason = `The NATS bucket ${name} was made by a newer version of onceward (layout ${meta.layout}, this one knows ${LAYOUT}): upgrade this node.`;
  throw new IdempotencyError("store_schema_newer", reason);
}

function durabilityOf({ config }: NatsStreamInfo, { bucket, warn }: NatsSettings): Durability {
  if (config.max_bytes > 0 || config.max_msgs > 0) {
    const bounds = `max_bytes ${config.max_bytes}, max_msgs ${config.max_msgs}`;
    warn(`The NATS bucket ${bucket} is bounded (${bounds}): where it is full, answers cannot be recorded either.`);
  }
  if (config.storage === "file") return "crash";
  warn(`The NATS bucket ${bucket} is kept in memory: its records are gone when its servers end. Use file storage.`);
  return "process";
}
