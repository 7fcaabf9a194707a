// The stub as a process of its own, for benches, kills at work and trials by hand; it prints `STUB-OPENAI-READY <url>`:
//   node --conditions=@answerline/source libs/testing/src/stub-openai/stub-openai.command.ts --port 0
import { parseArgs } from 'node:util';
import { startStubOpenAi } from './stub-openai.ts';

const number = (value: string): number => {
  const parsed = Number(value);
  if (!Number.isFinite(parsed) || parsed < 0) throw new Error(`Not a number from 0 up: ${value}`);
  return parsed;
};

const { values: given } = parseArgs({
  options: {
    port: { type: 'string', default: '0' },
    dimensions: { type: 'string', default: '64' },
    'api-key': { type: 'string' },
    'delay-ms': { type: 'string', default: '0' },
    'max-delay-ms': { type: 'string', default: '0' },
    'failure-share': { type: 'string', default: '0' },
    seed: { type: 'string', default: '1' },
  },
});
const maxDelayMs = number(given['max-delay-ms']);
const failureShare = number(given['failure-share']);
const stub = await startStubOpenAi({
  port: number(given.port),
  dimensions: number(given.dimensions),
  delayMs: number(given['delay-ms']),
  ...(given['api-key'] !== undefined && { apiKey: given['api-key'] }),
  ...((maxDelayMs > 0 || failureShare > 0) && { chance: { seed: number(given.seed), maxDelayMs, failureShare } }),
});
process.stdout.write(`STUB-OPENAI-READY ${stub.url}\n`);
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void stub.close());
