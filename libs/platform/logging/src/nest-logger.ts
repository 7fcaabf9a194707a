import type { LoggerService } from '@nestjs/common';
import type { Logger } from './logger.ts';
import { scrub } from './scrub.ts';

/**
 * Takes Nest's own lines into `logger`: `NestFactory.create(AppModule, adapter, { logger: nestLogger(logger) })`. Nest's
 * reports of its start become debug lines, so that a start is a few lines of ours; warnings and errors keep their level.
 */
export function nestLogger(logger: Logger): LoggerService {
  // Nest calls these as (message, context?) and, for errors, (message, stack?, context?).
  const line =
    (level: 'debug' | 'warn' | 'error' | 'fatal') =>
    (message: unknown, ...rest: unknown[]) => {
      const strings = rest.filter((one) => typeof one === 'string');
      const stack = strings.find(isStack);
      const context = strings.findLast((one) => !isStack(one));
      const err = [message, ...rest].find((one) => one instanceof Error) ?? (stack && errorOf(message, stack));
      const said = typeof message === 'string' ? scrub(message) : undefined;
      logger[level]({ context, said, ...(err !== undefined && { err }) }, 'Nest');
    };
  return {
    log: line('debug'),
    debug: line('debug'),
    verbose: line('debug'),
    warn: line('warn'),
    error: line('error'),
    fatal: line('fatal'),
  };
}

const isStack = (text: string) => /^\S.*\n\s+at /s.test(text);

function errorOf(message: unknown, stack: string): Error {
  const error = new Error(typeof message === 'string' ? message : 'Nest');
  error.stack = stack;
  return error;
}
