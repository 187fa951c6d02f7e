// Private servers for tests and benchmarks.
export { DYNAMODB, type StartDynamodbOptions, startDynamodb } from "./dynamodb.js";
export { type FaultProxy, faultProxy } from "./fault-proxy.js";
export { lookUp, type ServiceNeeds, type ServiceSource } from "./look-up.js";
export { MARIADB, type StartMariadbOptions, startMariadb } from "./mariadb.js";
export { NATS, type PrivateNatsCluster, type StartNatsOptions, startNats, startNatsCluster } from "./nats.js";
export { POSTGRES, type StartPostgresOptions, startPostgres } from "./postgres.js";
export {
  accepts,
  freePort,
  PrivateProcess,
  type PrivateProcessOptions,
  type PrivateServer,
  temporaryFolder,
} from "./private-process.js";
export {
  type PrivateServers,
  REDIS,
  type StartRedisOptions,
  startRedis,
  startRedisCluster,
  startRedisSentinel,
} from "./redis.js";
export { type RespReply, redisCommand } from "./resp.js";
