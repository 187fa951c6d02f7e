// npm run lock: adds to package-lock.json the other platforms' binaries that a partial registry mirror left out.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "./ensure.mjs";

// npm drops an optional dependency that it cannot find from the lock, and then `npm ci` refuses the lock as out of step.
// The entries added here have no integrity, since nobody here has seen those files; npm records it where it installs them.

/** Optional dependencies that are pinned by a locked package and have no entry of their own. */
export function missingBinaries(packages) {
  const missing = [];
  for (const [path, parent] of Object.entries(packages)) {
    for (const [name, version] of Object.entries(parent.optionalDependencies ?? {})) {
      const places = [`${path}/node_modules/${name}`, `node_modules/${name}`];
      if (!places.some((place) => packages[place])) missing.push({ place: places[1], name, version, parent });
    }
  }
  return missing;
}

const OS = ["aix", "android", "darwin", "freebsd", "linux", "netbsd", "openbsd", "openharmony", "sunos", "win32"];
const CPU = ["arm", "arm64", "ia32", "loong64", "mips64el", "ppc64", "riscv64", "s390x", "x64"];

/** The lock's entry, in npm's order of fields. What the binary runs on is in its name, by the convention of napi-rs. */
function entry({ name, version, parent }) {
  const words = name.split(/[-/]/);
  const limit = (field, values) => (values.length > 0 ? { [field]: values } : {});
  const libc = words.some((word) => word.startsWith("musl")) ? ["musl"] : words.includes("gnu") ? ["glibc"] : [];
  return {
    version,
    ...limit(
      "cpu",
      CPU.filter((cpu) => words.includes(cpu)),
    ),
    ...(parent.dev ? { dev: true } : {}),
    ...limit("libc", libc),
    optional: true,
    ...limit(
      "os",
      OS.filter((os) => words.includes(os)),
    ),
  };
}

if (import.meta.filename === process.argv[1]) {
  const path = join(root, "package-lock.json");
  const lock = JSON.parse(readFileSync(path, "utf8"));
  const missing = missingBinaries(lock.packages);
  for (const binary of missing) lock.packages[binary.place] = entry(binary);
  lock.packages = Object.fromEntries(Object.entries(lock.packages).sort(([a], [b]) => a.localeCompare(b, "en")));
  writeFileSync(path, `${JSON.stringify(lock, null, 2)}\n`);
  for (const { name, version } of missing) process.stdout.write(`added ${name} ${version}\n`);
}
