export { startLease } from './lease.ts';
export { type SetTimer } from './timer.ts';
export { startWorkLoop, type WorkLoop, type WorkLoopOptions } from './work-loop.ts';
export { startSweep } from './sweep.ts';
