export {
  AppError,
  InvalidInput,
  Transient,
  Unexpected,
  toAppError,
  type ErrorContext,
  type ErrorKind,
} from './app-error.ts';
