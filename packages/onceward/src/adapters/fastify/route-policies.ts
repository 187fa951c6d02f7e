// The policies of Fastify's routes, made once of what stands in their `config`.

import type { FastifyContextConfig, FastifyRequest, RouteOptions } from "fastify";
import type { Idempotency } from "../../http/idempotency.js";

type Runtime = Idempotency<FastifyRequest>;
type Config = FastifyContextConfig & { readonly [CLAIMS_LAST]?: RoutePolicies };

/** In the config of a route whose last hook claims; Fastify copies it along. */
const CLAIMS_LAST: unique symbol = Symbol("onceward.claims-last");

export class RoutePolicies {
  readonly #runtime: Runtime;
  readonly #made = new WeakMap<object, Runtime>();

  constructor(runtime: Runtime) {
    this.#runtime = runtime;
  }

  /**
   * The runtime of a route; null where it has none.
   *
   * @throws IdempotencyError `config_invalid` or `store_unsuitable`.
   */
  of({ idempotency }: FastifyContextConfig): Runtime | null {
    if (idempotency === false) return null;
    if (idempotency === undefined) return this.#runtime;
    const made = this.#made.get(idempotency) ?? this.#runtime.forRoute(idempotency);
    this.#made.set(idempotency, made);
    return made;
  }

  /**
   * Checks the options of a route that is being declared, and marks it as one whose last hook claims: what authenticates
   * in a hook of the route is to come first. Answers whether it is one.
   *
   * @throws IdempotencyError `config_invalid` or `store_unsuitable`.
   */
  claimsLast(route: RouteOptions): boolean {
    const config: FastifyContextConfig = route.config ?? {};
    if (this.of(config) === null) return false;
    route.config = { ...config, [CLAIMS_LAST]: this } as FastifyContextConfig;
    return true;
  }

  claimsLaterOn(config: FastifyContextConfig): boolean {
    return (config as Config)[CLAIMS_LAST] === this;
  }
}
