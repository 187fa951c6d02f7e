// The tests of every package: packages/*/test, against the sources they import and the built public subpaths.
import { defineConfig } from "vitest/config";

const project = (name: string) => ({
  extends: true as const,
  test: { name, root: `packages/${name}`, include: ["test/**/*.test.ts"] },
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
    projects: [project("services"), project("onceward"), project("gateway")],
    coverage: { provider: "v8", include: ["packages/*/src/**/*.ts"], reporter: ["text", "html"] },
  },
});
