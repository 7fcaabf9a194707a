import tseslint from 'typescript-eslint';

const only = (message, ...rest) => ['error', ...rest.map((r) => ({ ...r, message }))];
const outbound = 'Calls to the outside go through @answerline/outbound-http.';
const settings = 'Settings are read once, by loadConfig of @answerline/config. Take a config slice instead.';

export default tseslint.config(
  {
    ignores: [
      '**/dist/**',
      'node_modules/**',
      '.cache/**',
      '.nx/**',
      '.answerline/**',
      'apps/sandbox/public/**',
      '**/*.gen.ts',
    ],
  },
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.recommendedTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: {
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-misused-promises': 'error',
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      // Nest needs the class itself where it injects, so an import of a class stays a value import.
      '@typescript-eslint/consistent-type-imports': 'off',
      // An async method without await is how a synchronous implementation fits an asynchronous port.
      '@typescript-eslint/require-await': 'off',
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      'no-console': 'error',
      'no-restricted-syntax': only(
        settings,
        { selector: "MemberExpression[property.name='env'][object.name='process']" },
        { selector: "MemberExpression[property.name='env'][object.property.name='process']" },
        { selector: "MemberExpression[property.value='env'][object.name='process']" },
        { selector: "VariableDeclarator[init.name='process'] > ObjectPattern > Property[key.name='env']" },
        { selector: 'ImportDeclaration[source.value=/^(node:)?process$/] > ImportSpecifier[imported.name="env"]' },
      ),
      'no-restricted-globals': only(outbound, { name: 'fetch' }, { name: 'XMLHttpRequest' }, { name: 'WebSocket' }),
      'no-restricted-properties': only(outbound, { object: 'globalThis', property: 'fetch' }),
      'no-restricted-imports': [
        'error',
        {
          paths: ['undici', 'axios', 'got'].map((name) => ({ name, message: outbound })),
          patterns: [{ regex: '^(node:)?(http|https|http2)$', message: outbound }],
        },
      ],
    },
  },
  {
    files: ['libs/platform/outbound-http/src/**'],
    rules: { 'no-restricted-imports': 'off' },
  },
  {
    // It fetches a pinned release before the product runs, and hands its environment (PATH, HOME, proxies) to the Go tool.
    files: ['libs/platform/embedded-services/src/find-nats-server.ts'],
    rules: { 'no-restricted-globals': 'off', 'no-restricted-syntax': 'off' },
  },
  {
    files: ['libs/platform/config/src/**'],
    rules: { 'no-restricted-syntax': 'off' },
  },
  {
    // The sandbox plays Meta: it is the other end of the wire. Tests, benches and tools talk to the product from outside.
    files: ['apps/sandbox/src/**', 'libs/testing/src/**', '**/*spec.ts', 'bench/**', 'tools/**', 'e2e/**'],
    rules: {
      'no-restricted-globals': 'off',
      'no-restricted-imports': 'off',
      'no-restricted-properties': 'off',
      'no-restricted-syntax': 'off',
    },
  },
  {
    files: ['tools/**', 'bench/**', 'e2e/**'],
    rules: { 'no-console': 'off' },
  },
  {
    // Jest hands methods to expect() unbound all the time.
    files: ['**/*spec.ts', 'libs/testing/src/**'],
    rules: { '@typescript-eslint/unbound-method': 'off' },
  },
);
