import { operate } from './operate.ts';

// In an image of the gateway: it has the settings that the operator's commands need.
process.exitCode = await operate(process.argv.slice(2));
