// Express 4 knows nothing of promises: a handler that rejects would leave its request, and its key, open for ever.

import type { NextFunction, Request, Response } from "express";

type Handle = (...values: unknown[]) => unknown;

/** A layer of Express 4's router, as far as it is needed here. */
interface Layer {
  readonly handle: Handle;
  handle_request(request: Request, response: Response, next: NextFunction): void;
  handle_error(error: unknown, request: Request, response: Response, next: NextFunction): void;
}

/** Requests whose handlers' rejections are errors of Express. */
const caught = new WeakSet<Request>();
const patched = new WeakSet<Layer>();

/**
 * Lets Express 4 treat what a handler of this request rejects with as Express 5 does: as if it had been thrown. Nothing
 * changes for other requests.
 */
export function catchRejections(request: Request): void {
  const layers = layersOf(request);
  if (layers === null) return;
  caught.add(request);
  if (patched.has(layers)) return;
  patched.add(layers);
  const { handle_request, handle_error } = layers;
  layers.handle_request = function (this: Layer, request, response, next): void {
    // A handler of four parameters is one of errors.
    if (!caught.has(request) || this.handle.length > 3) handle_request.call(this, request, response, next);
    else call(this, [request, response, next], next);
  };
  layers.handle_error = function (this: Layer, error, request, response, next): void {
    if (!caught.has(request) || this.handle.length !== 4) handle_error.call(this, error, request, response, next);
    else call(this, [error, request, response, next], next);
  };
}

function call(layer: Layer, values: unknown[], next: NextFunction): void {
  let handled: unknown;
  try {
    handled = layer.handle(...values);
  } catch (error) {
    next(error);
    return;
  }
  if (typeof (handled as PromiseLike<unknown> | undefined)?.then !== "function") return;
  Promise.resolve(handled).catch((error: unknown) => next(error ?? new Error("A handler rejected without an error.")));
}

/** What all layers of this copy of Express 4 have in common; null in Express 5, which needs no help. */
function layersOf(request: Request): Layer | null {
  const { app } = request as { readonly app?: { readonly _router?: { readonly stack?: readonly Layer[] } } };
  const layer = app?._router?.stack?.[0];
  const layers: Layer | null = layer === undefined ? null : Object.getPrototypeOf(layer);
  return typeof layers?.handle_request === "function" ? layers : null;
}
