// Who may import whom: the layers of ARCHITECTURE.md, types included.

const LIB = "^packages/onceward/src";

/** What comes from a registry. */
const NPM = ["npm", "npm-dev", "npm-optional", "npm-bundled", "npm-no-pkg", "npm-unknown"];

/** Where a module of the library may reach outside its own folder. */
const may = (name, from, allowed, why) => ({
  name,
  comment: why,
  severity: "error",
  from: { path: from },
  to: { path: "^packages/", pathNot: allowed },
});

module.exports = {
  forbidden: [
    may("core-alone", `${LIB}/core/`, [`${LIB}/core/`], "core knows neither HTTP nor Node nor any store."),
    {
      name: "core-no-packages",
      comment: "core has no dependency at all, not even on node: modules.",
      severity: "error",
      from: { path: `${LIB}/core/` },
      to: { pathNot: "^packages/" },
    },
    may(
      "transactions-on-core",
      `${LIB}/transactions/`,
      [`${LIB}/(transactions|core)/`],
      "A database that runs a transaction knows no store and no framework.",
    ),
    may("http-on-core", `${LIB}/http/`, [`${LIB}/(http|core)/`], "http gives HTTP meaning to core; it knows no store."),
    may(
      "stores-on-core",
      `${LIB}/stores/`,
      [`${LIB}/(stores|core)/`],
      "A store implements core's contract, nothing else.",
    ),
    {
      name: "store-siblings",
      comment:
        "A store does not import another; what stores share is in stores/gathering/, stores/heads/ and stores/sql/, its own parts in stores/<name>/.",
      severity: "error",
      from: { path: `${LIB}/stores/([^/.]+)`, pathNot: `${LIB}/stores/(sql|gathering|heads)/` },
      to: { path: `${LIB}/stores/`, pathNot: [`${LIB}/stores/$1(/|[.]ts$)`, `${LIB}/stores/(sql|gathering|heads)/`] },
    },
    {
      name: "shared-knows-no-store",
      comment: "What stores share knows none of them.",
      severity: "error",
      from: { path: `${LIB}/stores/(sql|gathering|heads)/` },
      to: { path: `${LIB}/stores/`, pathNot: `${LIB}/stores/(sql|gathering|heads)/` },
    },
    {
      name: "adapter-siblings",
      comment: "An adapter translates one framework and knows no other; its own parts are in adapters/<name>/.",
      severity: "error",
      from: { path: `${LIB}/adapters/([^/.]+)` },
      to: { path: `${LIB}/adapters/`, pathNot: `${LIB}/adapters/$1(/|[.]ts$)` },
    },
    ...["adapters", "client", "testing"].map((top) =>
      may(
        `${top}-on-lower-layers`,
        `${LIB}/${top}/`,
        [`${LIB}/(${top}|http|stores|core)/`],
        `${top} stands on http, stores and core, beside the other tops.`,
      ),
    ),
    {
      name: "nothing-imports-index",
      comment: "An index.ts only re-exports, for users; inside, import the file that defines the thing.",
      severity: "error",
      from: { path: "^packages/[^/]+/src/" },
      to: { path: "^packages/.*/index[.]ts$" },
    },
    {
      name: "library-has-no-dependencies",
      comment: "The library runs on the platform alone; clients and pools are the user's own objects.",
      severity: "error",
      from: { path: LIB, pathNot: `${LIB}/adapters/` },
      to: { dependencyTypes: NPM, pathNot: "node_modules/@photostructure/sqlite/" },
    },
    {
      name: "adapters-import-types",
      comment: "An adapter may know the types of the framework that it translates, and runs without importing it.",
      severity: "error",
      from: { path: `${LIB}/adapters/` },
      to: { dependencyTypes: NPM, dependencyTypesNot: ["type-only"] },
    },
    {
      name: "library-knows-no-package-of-ours",
      comment: "Dependencies between packages point at the library, never from it.",
      severity: "error",
      from: { path: "^packages/onceward/" },
      // Its tests start servers.
      to: { path: "^packages/(?!onceward/|services/dist/)" },
    },
    {
      name: "package-wall",
      comment: "Other packages use public subpaths of onceward (they resolve to its dist), never its sources.",
      severity: "error",
      from: { path: "^(packages/(?!onceward/)|bench/|examples/|torture/)" },
      to: { path: "^packages/onceward/(?!dist/)" },
    },
    {
      name: "package-wall-by-name",
      comment: "A public subpath is imported by its name (onceward/http), not by a relative path into dist.",
      severity: "error",
      from: { path: "^(packages/(?!onceward/)|bench/|examples/|torture/)" },
      to: { path: "^packages/onceward/dist/", dependencyTypes: ["local"] },
    },
    {
      name: "no-cycles",
      comment: "No circle of imports, types included.",
      severity: "error",
      from: {},
      to: { circular: true },
    },
    {
      name: "no-tests-in-products",
      comment: "Nothing outside tests imports a test's file.",
      severity: "error",
      from: { pathNot: "^packages/[^/]+/test/" },
      to: { path: "^packages/[^/]+/test/|[.]test[.]ts$" },
    },
    {
      name: "resolvable",
      comment: "Every import resolves; a private subpath of onceward does not.",
      severity: "error",
      from: {},
      // node:sqlite is not there on every Node that this runs on.
      to: { couldNotResolve: true, pathNot: "^node:" },
    },
    {
      name: "declared",
      comment: "Every package that is imported is in the importer's package.json.",
      severity: "error",
      from: { path: "^packages/[^/]+/src/" },
      to: { dependencyTypes: ["npm-no-pkg", "npm-unknown", "npm-dev"], dependencyTypesNot: ["npm-peer"] },
    },
  ],
  options: {
    tsPreCompilationDeps: true,
    combinedDependencies: false,
    doNotFollow: { path: ["node_modules", "/dist/"] },
    exclude: { path: ["/coverage/"] },
    enhancedResolveOptions: {
      exportsFields: ["exports"],
      conditionNames: ["import", "node", "default", "types"],
      extensions: [".ts", ".d.ts", ".js", ".mjs", ".json"],
    },
    reporterOptions: { text: { highlightFocused: true } },
  },
};
