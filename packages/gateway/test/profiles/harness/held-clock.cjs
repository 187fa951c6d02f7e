// Preloaded into a gateway process and its threads: `Date` there says what the test says, to the millisecond.
//
// The gateway under test is the real one and knows nothing of this. Monotonic time (performance.now, timers) goes on as
// ever, so that timeouts, lease renewal and batches work while the date stands still or jumps.
const { openSync, readSync } = require("node:fs");

const file = openSync(process.env.HELD_CLOCK_FILE, "r");
const bytes = Buffer.alloc(8);
const RealDate = Date;

function now() {
  readSync(file, bytes, 0, 8, 0);
  return bytes.readDoubleLE(0);
}

globalThis.Date = new Proxy(RealDate, {
  construct: (target, args, newTarget) => Reflect.construct(target, args.length === 0 ? [now()] : args, newTarget),
  apply: () => new RealDate(now()).toString(),
  get: (target, name) => (name === "now" ? now : Reflect.get(target, name)),
});
