import { stdout } from 'node:process';
import { styleText } from 'node:util';
import type { DestinationStream } from 'pino';

const colours = {
  trace: 'gray',
  debug: 'gray',
  info: 'green',
  warn: 'yellow',
  error: 'red',
  fatal: 'magenta',
} as const;

/** Turns pino's JSON lines into lines for a person: time, level, app, message, fields, and the stacks of an error below. */
export function prettyStream(write: (text: string) => void = (text) => void stdout.write(text)): DestinationStream {
  return { write: (line) => write(prettyLine(line)) };
}

function prettyLine(line: string): string {
  const { time, level, app, message, err, ...fields } = JSON.parse(line) as Record<string, unknown>;
  const name = String(level);
  const paint = (text: string) => styleText(name in colours ? colours[name as keyof typeof colours] : 'white', text);
  const shown = Object.entries(fields).map(([key, value]) => styleText('dim', ` ${key}=${printed(value)}`));
  const clock = String(time).slice(11, 23);
  return `${clock} ${paint(name.padEnd(5))} ${String(app)} ${String(message)}${shown.join('')}${stacks(err)}\n`;
}

const printed = (value: unknown) => (typeof value === 'string' ? value : JSON.stringify(value));

function stacks(err: unknown): string {
  if (typeof err !== 'object' || err === null) return '';
  const { stack, context, cause, errors, ...rest } = err as Record<string, unknown>;
  const head = typeof stack === 'string' ? stack : JSON.stringify(rest);
  const facts = context === undefined ? '' : ` ${JSON.stringify(context)}`;
  return [`\n  ${head}${facts}`, stacks(cause), ...(Array.isArray(errors) ? errors.map(stacks) : [])].join('');
}
