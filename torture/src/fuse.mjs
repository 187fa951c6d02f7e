// Ends the process by SIGKILL at one statement of the database: before it is sent, right after, or at its answer.

/** `at`: which statement, counted from 1; 0: never. `moment`: `before`, `sent` or `answered`. */
export function fuse({ at, moment }) {
  let count = 0;
  const burn = () => process.kill(process.pid, "SIGKILL");
  return function lay(object, names) {
    for (const name of names) {
      const original = object[name];
      const fused = function (...args) {
        count += 1;
        const mine = count === at;
        if (mine && moment === "before") burn();
        const result = original.apply(this, args);
        if (mine && (moment === "sent" || !(result instanceof Promise))) burn();
        if (mine) result.then(burn, burn);
        return result;
      };
      // Some drivers' methods cannot be assigned to.
      Object.defineProperty(object, name, { value: fused, configurable: true, writable: true });
    }
    return object;
  };
}
