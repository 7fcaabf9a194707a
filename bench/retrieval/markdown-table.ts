import type { Interval } from './bootstrap.ts';

/** Prints rows as a Markdown table that can be read as it stands: the first row is the head, all columns but the first go to the right. */
export function printMarkdownTable(rows: readonly (readonly string[])[]): void {
  const [head = [], ...body] = rows;
  const widths = head.map((_, column) => Math.max(3, ...rows.map((row) => row[column]?.length ?? 0)));
  const line = (cells: readonly string[]) => console.log(`| ${cells.join(' | ')} |`);
  const aligned = (row: readonly string[]) =>
    widths.map((width, column) => (column === 0 ? (row[0] ?? '').padEnd(width) : (row[column] ?? '').padStart(width)));
  line(aligned(head));
  line(widths.map((width, column) => (column === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`)));
  for (const row of body) line(aligned(row));
  console.log('');
}

/** `.749 [.690, .803]` */
export function shareWithInterval({ mean, low, high }: Interval): string {
  return `${share(mean)} [${share(low)}, ${share(high)}]`;
}

/** `+.031 [−.004, +.066]`; what rounds to nothing has no sign. */
export function differenceWithInterval({ mean, low, high }: Interval): string {
  const signed = (value: number) => {
    const size = share(Math.abs(value));
    return size === share(0) ? size : `${value < 0 ? '−' : '+'}${size}`;
  };
  return `${signed(mean)} [${signed(low)}, ${signed(high)}]`;
}

/** Three decimals, without the zero before them. */
export function share(value: number): string {
  return value.toFixed(3).replace(/^0\./, '.');
}
