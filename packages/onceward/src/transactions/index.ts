// The public entry of transactions: the operation's writes and its recorded answer in one (SPEC §7.1).
export { type DrizzleLike, type DrizzleSqlLike, type DrizzleTransactionLike, drizzleTransactions } from "./drizzle.js";
export { type KyselyLike, type KyselyTransactionLike, kyselyTransactions } from "./kysely.js";
export { type MysqlConnectionLike, type MysqlPoolLike, mysqlTransactions } from "./mysql.js";
export { type PgClientLike, type PgPoolLike, type PgTransactionsOptions, pgTransactions } from "./pg.js";
export { type PostgresJsLike, type PostgresJsTransactionLike, postgresJsTransactions } from "./postgres-js.js";
export {
  type PrismaLike,
  type PrismaTransactionLike,
  type PrismaTransactionsOptions,
  prismaTransactions,
} from "./prisma.js";
export { type SqliteDatabaseLike, sqliteTransactions } from "./sqlite.js";
