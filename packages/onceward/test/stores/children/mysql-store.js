// What a process of its own makes a MySQL store with, in races of the store suite.

import mariadb from "mariadb";
import mysql from "mysql2";
import { mysqlStore } from "onceward/stores/mysql";
import { sealedStore } from "onceward/stores/sealed";
import { movedClock } from "./moved-clock.js";

/**
 * `argument` is JSON: the server's `url`; the tables' `prefix`; the `kind` of client; the instant `now` at which the
 * suite's clock stands, or by how much the server's own is moved (`movedMs`), or neither; and `key` (hexadecimal), where
 * the store is to be sealed.
 */
export function createStore(argument) {
  const { url, prefix, kind, key, now: instant, movedMs } = JSON.parse(argument);
  const { hostname: host, port, username: user, password, pathname } = new URL(url);
  const options = { host, port: Number(port), user, password, database: pathname.slice(1), connectionLimit: 5 };
  const own = kind === "mariadb" ? mariadb.createPool(options) : mysql.createPool(options);
  const promised = kind === "mariadb" ? own : own.promise();
  const pool = movedMs === undefined ? (kind === "mysql2" ? promised : own) : movedClock(promised, () => movedMs);
  const store = mysqlStore({
    pool,
    prefix,
    onWarning: () => {},
    ...(instant === undefined ? {} : { now: () => instant }),
  });
  const close = store.close.bind(store);
  // Its pool is this process's own, and would keep it alive.
  store.close = () => close().then(() => promised.end());
  return key === undefined ? store : sealedStore(store, { keys: [{ id: "race", key: Buffer.from(key, "hex") }] });
}
