// What each npm script runs, step by step. A step is a list of arguments for the project's Node; a step that fails
// ends the command; one with a title shows its output only then. Folders are relative to the project.
const source = '--conditions=@answerline/source';
const quiet = '--disable-warning=ExperimentalWarning';

const nx = (...args) => ({ args: ['node_modules/nx/dist/bin/nx.js', ...args] });
const build = { title: 'Building', ...nx('run-many', '-t', 'build', '--output-style=static-failures-only') };
const tool = (file, args = []) => ({ args: [source, quiet, file, ...args] });
const jest = (projects, args) => tool('tools/run-tests.ts', [projects, ...args]);

// Files that mostly wait, each for processes of its own; one after the other they would take twice as long.
const two = '--maxWorkers=2';
const chaos = (args) => jest('chaos', [two, ...args]);

// Each file starts an Elasticsearch of its own, and two would take the machine from each other.
const elasticsearch = (args) => jest('elasticsearch', ['--runInBand', ...args]);

const check = [
  { args: ['node_modules/prettier/bin/prettier.cjs', '--check', '--log-level=warn', '.'] },
  { args: ['node_modules/eslint/bin/eslint.js', '--max-warnings=0', '.'] },
  {
    args: [
      'node_modules/dependency-cruiser/bin/dependency-cruiser.mjs',
      '--config',
      '.dependency-cruiser.mjs',
      'apps',
      'libs',
    ],
  },
  { args: ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.json'] },
];

/** @type {Record<string, (args: string[]) => { title?: string, args: string[], env?: Record<string, string> }[]>} */
export const commands = {
  start: (args) => [build, { args: ['apps/standalone/dist/main.js', ...args] }],
  'start:services': (args) => [build, { args: ['apps/standalone/dist/start-services.js', ...args] }],
  build: () => [build],
  check: () => check,
  format: () => [{ args: ['node_modules/prettier/bin/prettier.cjs', '--write', '--log-level=warn', '.'] }],
  test: (args) => [build, jest('unit,integration', [two, ...args])],
  'test:unit': (args) => [jest('unit', args)],
  'test:browser': (args) => [tool('tools/require-chromium.ts'), build, jest('browser', args)],
  'test:clients': (args) => [tool('tools/require-python.ts'), build, jest('clients', args)],
  'test:chaos': (args) => [build, chaos(args)],
  'test:long': (args) => [build, { ...chaos(args), env: { CHAOS_PROFILE: 'long' } }],
  'test:elasticsearch': (args) => [
    tool('tools/require-elasticsearch.ts'),
    tool('tools/require-chromium.ts'),
    build,
    elasticsearch(args),
  ],
  'test:containers': (args) => [tool('tools/require-containers.ts'), jest('containers', args)],
  generate: (args) => [tool('tools/generate.ts', args)],
  'check:webhooks': (args) => [tool('tools/check-webhooks.ts', args)],
  'db:migrate': (args) => [build, { args: ['libs/adapters/persistence/dist/migrate.command.js', ...args] }],
  'index:rebuild': (args) => [build, { args: ['apps/standalone/dist/rebuild-index.js', ...args] }],
  operator: (args) => [build, { args: ['apps/standalone/dist/operator.js', ...args] }],
  'bench:webhook': (args) => [build, { args: [quiet, 'bench/webhook.ts', ...args] }],
  'bench:turn': (args) => [build, { args: [quiet, 'bench/turn.ts', ...args] }],
  'bench:fairness': (args) => [build, { args: [quiet, 'bench/fairness.ts', ...args] }],
  'bench:retrieval': (args) => [build, { args: [quiet, 'bench/retrieval.ts', ...args] }],
};
