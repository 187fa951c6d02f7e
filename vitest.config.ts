// The tests of every package: packages/*/test, against the sources they import and the built public subpaths.
import { defineConfig } from "vitest/config";

const project = (name: string, root: string) => ({
  extends: true as const,
  test: { name, root, include: ["test/**/*.test.ts"] },
});

export default defineConfig({
  test: {
    watch: false,
    pool: "forks",
    // The machines that run this have two cores, and many tests start processes of their own.
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 30_000,
    teardownTimeout: 10_000,
    passWithNoTests: true,
    projects: [
      ...["services", "onceward", "gateway"].map((name) => project(name, `packages/${name}`)),
      ...["examples", "torture"].map((name) => project(name, name)),
    ],
    coverage: { provider: "v8", include: ["packages/*/src/**/*.ts"], reporter: ["text", "html"] },
  },
});
