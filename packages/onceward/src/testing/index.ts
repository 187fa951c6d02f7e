// What tests of stores, and of code on top of them, are built with; it depends on no test runner.

export {
  type AdapterSuiteOptions,
  adapterSuite,
  type RunningApp,
  type SuiteAnswer,
  type SuiteApp,
  type SuiteRequest,
  type SuiteRoute,
} from "./adapter-suite.js";
export { type FakeClock, fakeClock } from "./fake-clock.js";
export {
  type Fault,
  type FaultCall,
  type FaultOperation,
  type FaultPlan,
  type FaultRates,
  type FaultStore,
  type FaultStoreOptions,
  faultStore,
  randomFaults,
} from "./fault-store.js";
export { seededRandom } from "./random.js";
export {
  type StoreCapabilities,
  type StorePlace,
  type StoreProcess,
  type StoreSuiteOptions,
  storeSuite,
} from "./store-suite.js";
export type { SuiteRunner } from "./suite-runner.js";
