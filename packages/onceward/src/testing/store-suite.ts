// The shared suite that every store passes unchanged; the test runner is passed in.

import type { Store } from "../core/store.js";
import { claimCases } from "./store-suite/claims.js";
import { historyCases } from "./store-suite/history-cases.js";
import { limitCases, listCases, purgeCases } from "./store-suite/keeping.js";
import { processRaceCases } from "./store-suite/process-races.js";
import { raceCases } from "./store-suite/races.js";
import { lifecycleCases, sharedValueCases } from "./store-suite/shared-values.js";
import { stepCases, transactionCases } from "./store-suite/steps.js";
import { type StoreCapabilities, type StorePlace, SuiteBench, type SuiteCase } from "./store-suite/suite-case.js";
import { transitionCases } from "./store-suite/transitions.js";
import { valueCases } from "./store-suite/values.js";
import { registerSuite, type SuiteGroups, type SuiteRunner, type SuiteSkips } from "./suite-runner.js";

export type { StoreCapabilities, StorePlace, StoreProcess } from "./store-suite/suite-case.js";

export interface StoreSuiteOptions {
  /** Of the store, as it is to appear in the titles. */
  readonly name: string;
  readonly runner: SuiteRunner;
  readonly capabilities: StoreCapabilities;
  /** A fresh and empty place; called for each case. */
  setUp(): StorePlace | Promise<StorePlace>;
  /** Cases that this store cannot pass, by their title or its beginning, each with the reason. */
  readonly skips?: SuiteSkips;
}

const GROUPS: SuiteGroups<SuiteCase> = {
  claims: claimCases,
  transitions: transitionCases,
  steps: stepCases,
  transactions: transactionCases,
  races: raceCases,
  "races of processes": processRaceCases,
  values: valueCases,
  limits: limitCases,
  purging: purgeCases,
  listings: listCases,
  "shared values": sharedValueCases,
  "opening and closing": lifecycleCases,
  history: historyCases,
};

/** Registers the suite with the runner. Cases take from milliseconds to, for those with processes, some seconds. */
export function storeSuite(options: StoreSuiteOptions): void {
  const { name, runner, capabilities, skips = {} } = options;
  registerSuite(`store suite: ${name}`, runner, GROUPS, {
    skips,
    leaveOut: (suiteCase) => lacks(suiteCase, capabilities),
    run: (suiteCase) => runCase(options, suiteCase),
  });
}

function lacks({ needs }: SuiteCase, capabilities: StoreCapabilities): boolean {
  if (needs === "shared") return !capabilities.shared;
  if (needs === "history") return !capabilities.history;
  if (needs === "transactions") return capabilities.transactions !== true;
  return needs === "fake clock" && capabilities.clock !== "fake";
}

async function runCase(options: StoreSuiteOptions, suiteCase: SuiteCase): Promise<void> {
  const bench = new SuiteBench(await options.setUp(), options.capabilities);
  try {
    await bench.start();
    assertHonest(bench.store, options.capabilities);
    await suiteCase.run(bench);
  } finally {
    await bench.end();
  }
}

/** What the suite was told of a store is what the store says of itself. */
function assertHonest(store: Store, capabilities: StoreCapabilities): void {
  if (store.info.shared !== capabilities.shared) {
    throw new Error(`The store declares shared: ${store.info.shared}, the suite was told ${capabilities.shared}.`);
  }
  if ((store.history !== undefined) !== capabilities.history) {
    throw new Error("Whether the store has a history is not what the suite was told.");
  }
  if ((store.transactions !== undefined) !== (capabilities.transactions ?? false)) {
    throw new Error("Whether the store has transactions is not what the suite was told (`capabilities.transactions`).");
  }
}
