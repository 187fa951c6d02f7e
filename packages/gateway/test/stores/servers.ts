// The servers that a gateway's store may be on, each private to the test file that starts it.

import {
  DYNAMODB,
  lookUp,
  MARIADB,
  NATS,
  POSTGRES,
  REDIS,
  type ServiceNeeds,
  startDynamodb,
  startMariadb,
  startNats,
  startPostgres,
  startRedis,
  startRedisCluster,
} from "@onceward/services";

export interface StoreServer {
  readonly title: string;
  /** Why it cannot be started here, or null. */
  readonly missing: string | null;
  /** Starts it and answers the address that a gateway is given. */
  start(): Promise<{ readonly url: string; remove(): Promise<void> }>;
  /** An address of this kind where nothing answers. */
  dead(port: number): string;
}

export const STORE_SERVERS: readonly StoreServer[] = [
  server("PostgreSQL", POSTGRES, startPostgres, (port) => `postgres://u:hunter2@127.0.0.1:${port}/pay`),
  server("MariaDB", MARIADB, startMariadb, (port) => `mysql://u:hunter2@127.0.0.1:${port}/pay`),
  server("Redis", REDIS, startRedis, (port) => `redis://u:hunter2@127.0.0.1:${port}`),
  server(
    "a Redis Cluster",
    REDIS,
    async () => {
      const cluster = await startRedisCluster();
      const hosts = cluster.servers.map(({ host, port }) => `${host}:${port}`);
      return { url: `redis+cluster://${hosts.join(",")}`, remove: () => cluster.remove() };
    },
    (port) => `redis+cluster://u:hunter2@127.0.0.1:${port}`,
  ),
  server(
    "NATS",
    NATS,
    async () => {
      const nats = await startNats();
      return { url: `${nats.url}?skew=100ms`, remove: () => nats.remove() };
    },
    (port) => `nats://u:hunter2@127.0.0.1:${port}`,
  ),
  server(
    "DynamoDB",
    DYNAMODB,
    async () => {
      const dynamodb = await startDynamodb();
      const url = `dynamodb://onceward?region=eu-central-1&skew=100ms&endpoint=${encodeURIComponent(dynamodb.url)}`;
      return { url, remove: () => dynamodb.remove() };
    },
    (port) => `dynamodb://onceward?region=eu-central-1&endpoint=http://127.0.0.1:${port}`,
  ),
];

function server(
  title: string,
  needs: ServiceNeeds,
  start: () => Promise<{ readonly url: string; remove(): Promise<void> }>,
  dead: (port: number) => string,
): StoreServer {
  const source = lookUp(needs, { ...process.env, [needs.variable]: "" });
  const missing = source.kind === "missing" ? source.reason : null;
  if (missing !== null) console.error(missing);
  return { title, missing, start, dead };
}

/** The SDK finds credentials as on any machine; dynalite takes whatever they are. */
export const AWS = { AWS_ACCESS_KEY_ID: "test", AWS_SECRET_ACCESS_KEY: "test" } as const;
