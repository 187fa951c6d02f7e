// The shared suite that every adapter passes: black-box, over real HTTP; the test runner is passed in.

import { accountCases } from "./adapter-suite/account-cases.js";
import { AdapterBench, type AdapterCase } from "./adapter-suite/bench.js";
import { answerBodyCases, requestBodyCases } from "./adapter-suite/body-cases.js";
import { effectCases } from "./adapter-suite/effect-cases.js";
import { keyCases } from "./adapter-suite/key-cases.js";
import { outageCases } from "./adapter-suite/outage-cases.js";
import { ownAnswerCases, watchCases } from "./adapter-suite/own-answer-cases.js";
import { recordCases } from "./adapter-suite/record-cases.js";
import { replayCases } from "./adapter-suite/replay-cases.js";
import type { RunningApp, SuiteApp } from "./adapter-suite/suite-app.js";
import { registerSuite, type SuiteGroups, type SuiteRunner, type SuiteSkips } from "./suite-runner.js";

export type { RunningApp, SuiteAnswer, SuiteApp, SuiteRequest, SuiteRoute } from "./adapter-suite/suite-app.js";

export interface AdapterSuiteOptions<Sent> {
  /** Of the adapter, as it is to appear in the titles. */
  readonly name: string;
  readonly runner: SuiteRunner;
  /** Mounts an app in the framework and listens on a free port of loopback; called once or more for each case. */
  start(app: SuiteApp<Sent>): Promise<RunningApp>;
  /** Cases that this adapter cannot pass, by their title or its beginning, each with the reason. */
  readonly skips?: SuiteSkips;
}

const GROUPS: SuiteGroups<AdapterCase> = {
  "the key": keyCases,
  "the account": accountCases,
  "the life of a record": recordCases,
  "what dies": outageCases,
  replays: replayCases,
  "bodies of answers": answerBodyCases,
  "bodies of requests": requestBodyCases,
  "answers of the layer's own": ownAnswerCases,
  effects: effectCases,
  "watching and history": watchCases,
};

/** Registers the suite with the runner. Most cases take milliseconds, some with leases a second. */
export function adapterSuite<Sent>(options: AdapterSuiteOptions<Sent>): void {
  const { name, runner, skips = {} } = options;
  // What a framework's handlers return is for the framework: the cases only hand it on.
  const start = options.start as (app: SuiteApp<unknown>) => Promise<RunningApp>;
  registerSuite(`adapter suite: ${name}`, runner, GROUPS, {
    skips,
    run: (suiteCase) => runCase(new AdapterBench(start), suiteCase),
  });
}

async function runCase(bench: AdapterBench, suiteCase: AdapterCase): Promise<void> {
  try {
    await suiteCase.run(bench);
  } finally {
    await bench.end();
  }
}
