// The types of moved-clock.js.

import type { MysqlPromisePoolLike } from "onceward/stores/mysql";

export function movedClock(pool: MysqlPromisePoolLike, movedMs: () => number): MysqlPromisePoolLike;
