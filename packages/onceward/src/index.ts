// The public entry: policies, the store contract, records, history and errors.
export type { Clock } from "./core/clock.js";
export { systemClock } from "./core/clock.js";
export type { Duration, Size } from "./core/duration.js";
export { parseDuration, parseSize } from "./core/duration.js";
export type { ClaimErrorCode, ErrorCode, FaultCode, RequestErrorCode } from "./core/errors.js";
export { IdempotencyError, isIdempotencyError } from "./core/errors.js";
export type { EngineEvent } from "./core/events.js";
export type { AuditEntry, HistoryStore, Run, RunFlag, RunOutcome, RunQuery, RunStep } from "./core/history.js";
export type { Page } from "./core/page.js";
export type {
  FingerprintFunction,
  Interrupted,
  Policy,
  PolicyOptions,
  ProfileName,
  RecoverFunction,
  RecoverVerdict,
} from "./core/policy.js";
export type { OptionName, PolicyOption, ValueSchema } from "./core/policy-options.js";
export { OPTIONS } from "./core/policy-options.js";
export type { Profile } from "./core/profiles.js";
export { PROFILES } from "./core/profiles.js";
export type { Answer, Fence, RecordId, RecordLabels, RecordState, StoredRecord } from "./core/record.js";
export { isExpired, isLapsed } from "./core/record.js";
export type { PolicyContext, PolicyIssue } from "./core/resolve-policy.js";
export { checkPolicy, resolvePolicy, unsuitableStore } from "./core/resolve-policy.js";
export type { StepContext } from "./core/steps.js";
export type {
  ClaimRequest,
  ClaimResult,
  Durability,
  Found,
  RecordQuery,
  Store,
  StoreInfo,
  StoreLimits,
  StoreWaiting,
} from "./core/store.js";
export { DEFAULT_STORE_LIMITS } from "./core/store.js";
export { closest } from "./core/suggestion.js";
export type {
  SqlDialect,
  SqlStatement,
  StoreTransactions,
  TransactionResult,
  Transactions,
} from "./core/transactions.js";
export { lacksTransactions } from "./core/transactions.js";
