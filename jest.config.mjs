import { readFileSync } from 'node:fs';

const swcrc = JSON.parse(readFileSync(new URL('.swcrc', import.meta.url), 'utf8'));
delete swcrc.$schema;
// Jest finds the .ts files themselves; rewritten .js specifiers would not exist.
delete swcrc.jsc.rewriteRelativeImportExtensions;

const project = (displayName, testMatch) => ({
  displayName,
  testMatch,
  rootDir: import.meta.dirname,
  testEnvironment: 'node',
  testEnvironmentOptions: { customExportConditions: ['@answerline/source', 'node', 'node-addons'] },
  extensionsToTreatAsEsm: ['.ts'],
  transform: { '^.+\\.ts$': ['@swc/jest', { ...swcrc, swcrc: false, sourceMaps: 'inline' }] },
  modulePathIgnorePatterns: ['<rootDir>/.*/dist/', '<rootDir>/.cache/', '<rootDir>/.answerline/', '<rootDir>/.nx/'],
  setupFiles: ['<rootDir>/tools/jest-setup.mjs'],
  clearMocks: true,
});

export default {
  projects: [
    project('unit', ['<rootDir>/{apps,bench,libs,tools,e2e}/**/*.spec.ts']),
    project('integration', ['<rootDir>/{apps,libs,tools,e2e}/**/*.int-spec.ts']),
    project('browser', ['<rootDir>/e2e/*.browser-spec.ts']),
    project('clients', ['<rootDir>/e2e/**/*.clients-spec.ts']),
    project('chaos', ['<rootDir>/e2e/*.chaos-spec.ts']),
    project('containers', ['<rootDir>/{e2e,tools}/**/*.container-spec.ts']),
    project('elasticsearch', ['<rootDir>/{libs,e2e}/**/*.es-spec.ts']),
  ],
  // Of hooks too, which stop servers. Tests have deadlines of their own.
  testTimeout: 60_000,
  // Modules of each spec file stay in the worker's heap; one that has grown beyond this makes room for a new worker.
  workerIdleMemoryLimit: '1GB',
  reporters: ['default', '<rootDir>/tools/closing-line-reporter.mjs'],
};
