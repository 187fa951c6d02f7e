// A script: sent by its digest, and in full to a server that does not know it.

import { createHash } from "node:crypto";
import { codeOf, type RedisArgument, type RedisReply } from "./link.js";

/** Sends a command. */
export type Send = (...command: RedisArgument[]) => Promise<RedisReply>;

export class Script {
  readonly #source: string;
  readonly #digest: string;

  constructor(source: string) {
    this.#source = source;
    this.#digest = createHash("sha1").update(source).digest("hex");
  }

  async run(send: Send, keys: readonly RedisArgument[], args: readonly RedisArgument[]): Promise<RedisReply> {
    const rest = [String(keys.length), ...keys, ...args];
    try {
      return await send("evalsha", this.#digest, ...rest);
    } catch (error) {
      // Of a server that was restarted, replaced or flushed.
      if (codeOf(error) !== "NOSCRIPT") throw error;
      return await send("eval", this.#source, ...rest);
    }
  }
}
