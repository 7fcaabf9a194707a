/** Nest token of the process's {@link Logger}, which is a type and so cannot be one itself. */
export const LOGGER = Symbol('Logger');
