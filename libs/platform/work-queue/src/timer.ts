/** Calls `fn` once after `ms` milliseconds, and returns what calls it off. Tests put their own clock here. */
export type SetTimer = (fn: () => void, ms: number) => () => void;

export const realTimer: SetTimer = (fn, ms) => {
  const timer = setTimeout(fn, ms);
  return () => clearTimeout(timer);
};
