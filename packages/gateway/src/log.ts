// The gateway's logger: JSON for machines or lines for people, without secrets either way.

import { type DestinationStream, destination, type Logger, type LoggerOptions, pino, stdTimeFunctions } from "pino";
import { prettyLine } from "./log-pretty.js";
import { redact, redactText } from "./redaction.js";

export type { Logger } from "pino";

export interface LogOptions {
  readonly level: "debug" | "info" | "warn" | "error" | "silent";
  readonly format: "json" | "pretty";
  /** Where lines go; default: standard output. */
  readonly to?: DestinationStream;
  /** Whether lines for people are coloured; default: on a terminal, unless NO_COLOR is set. */
  readonly colour?: boolean;
}

/** Makes a logger. Everything it is given is redacted on the way, so that no caller can forget to. */
export function createLogger(options: LogOptions): Logger {
  const to = options.to ?? destination({ fd: 1, sync: true });
  const settings: LoggerOptions = {
    level: options.level,
    base: null,
    timestamp: stdTimeFunctions.isoTime,
    formatters: {
      level: (label) => ({ level: label }),
      log: (fields) => redact(fields) as Record<string, unknown>,
    },
    // pino's own would run before `log` and hide the error's class from it.
    serializers: { err: (error: unknown) => error },
    hooks: {
      logMethod(args, method) {
        const [first] = args as unknown[];
        // pino takes the message of a lone error as it is.
        if (args.length === 1 && first instanceof Error) (args as unknown[]).push(first.message);
        method.apply(
          this,
          args.map((arg) => (typeof arg === "string" ? redactText(arg) : arg)) as Parameters<typeof method>,
        );
      },
    },
  };
  if (options.format === "json") return guarded(pino(settings, to));
  const colour = options.colour ?? (process.stdout.isTTY === true && !process.env["NO_COLOR"]);
  return guarded(pino(settings, { write: (line) => to.write(prettyLine(line, colour)) }));
}

/** pino writes what a child is bound to as it is; its children inherit this. */
function guarded(logger: Logger): Logger {
  const { child } = logger;
  logger.child = function redacted(this: Logger, bindings: Parameters<typeof child>[0], ...rest: unknown[]) {
    return Reflect.apply(child, this, [redact(bindings), ...rest]);
  } as typeof child;
  return logger;
}
