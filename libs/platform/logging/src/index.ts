export { currentCorrelationId, withCorrelation } from './correlation.ts';
export { errorFields, type ErrorFields } from './printable-fields.ts';
export { createLogger, type Logger, type LogLevel } from './logger.ts';
export { LOGGER } from './logger-token.ts';
export { nestLogger } from './nest-logger.ts';
export { scrub } from './scrub.ts';
