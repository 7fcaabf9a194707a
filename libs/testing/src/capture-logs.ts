/** Collects what a logger writes. */
export interface CapturedLogs {
  /** Give it to pino (or anything that writes JSON lines) as its destination. */
  readonly stream: { write(text: string): void };
  /** Everything as it was written, to search for what must not be there. */
  text(): string;
  /** One object a line; a line that is no JSON object comes as `{ msg: line }`. */
  lines(): Record<string, unknown>[];
  clear(): void;
}

/** An in-memory destination for a logger. */
export function captureLogs(): CapturedLogs {
  let text = '';
  return {
    stream: { write: (chunk) => void (text += chunk) },
    text: () => text,
    lines: () =>
      text
        .split('\n')
        .filter((line) => line !== '')
        .map(parsed),
    clear: () => {
      text = '';
    },
  };
}

function parsed(line: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(line);
    if (typeof value === 'object' && value !== null) return value as Record<string, unknown>;
  } catch {
    // Not JSON: kept as text.
  }
  return { msg: line };
}
