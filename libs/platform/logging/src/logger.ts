import pino, { type DestinationStream } from 'pino';
import { currentCorrelationId } from './correlation.ts';
import { prettyStream } from './pretty-stream.ts';
import { redactFields, redactingSerializers } from './printable-fields.ts';

/** Writes lines: `logger.info({ count }, 'Messages stored')`. The message is constant, values are fields, an error is the field `err`. */
export type Logger = pino.Logger;

export type LogLevel = pino.LevelWithSilent;

/**
 * A logger for the process `app`. Each line is JSON on stdout with time (ISO 8601, UTC), level, app, the correlation id if
 * there is one, the fields and the message; with `pretty`, a line for a person. Secrets, phone numbers, names and texts are
 * removed by the names of their fields, and errors show only the fields of `errorFields`.
 *
 * @param options.destination takes the lines instead of stdout
 */
export function createLogger(options: {
  readonly app: string;
  readonly level: LogLevel;
  readonly pretty?: boolean;
  readonly destination?: DestinationStream;
}): Logger {
  const { app, level, pretty = false, destination = pretty ? prettyStream() : pino.destination(1) } = options;
  return pino(
    {
      level,
      base: { app },
      messageKey: 'message',
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }), log: redactFields },
      mixin: () => {
        const correlationId = currentCorrelationId();
        return correlationId === undefined ? {} : { correlationId };
      },
      // What the call itself says wins over the id around it.
      mixinMergeStrategy: (line, mixin) => ({ ...mixin, ...line }),
      serializers: redactingSerializers,
    },
    destination,
  );
}
