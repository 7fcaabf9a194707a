/** What a bench hands to a process of its own: in the environment, so that secrets do not stand in the list of processes. */
export function processOptions<Options>(): Options {
  return JSON.parse(process.env['BENCH_OPTIONS'] ?? '{}') as Options;
}

/** The environment for {@link processOptions} of the other side. */
export function withOptions(options: object): Record<string, string> {
  return { BENCH_OPTIONS: JSON.stringify(options) };
}
