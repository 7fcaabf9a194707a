// Nx without generators: every package of apps/ and libs/ gets one cached target, `build`, that compiles its src with SWC.
// Files are compiled one by one, so no build waits for another.
import { dirname, relative } from 'node:path';

export const createNodesV2 = [
  '{apps,libs}/**/package.json',
  (files) =>
    files
      .filter((file) => !/node_modules|dist/.test(file))
      .map((file) => {
        const projectRoot = dirname(file);
        const swcrc = `${relative(projectRoot, '.')}/.swcrc`;
        const specs = ['**/*.spec.ts', '**/*.int-spec.ts'].map((glob) => `--ignore '${glob}'`).join(' ');
        const build = {
          command: `swc src -d dist --strip-leading-paths --delete-dir-on-start -q --config-file ${swcrc} ${specs}`,
          options: { cwd: projectRoot },
          cache: true,
          inputs: [
            '{projectRoot}/src/**/*.ts',
            '!{projectRoot}/src/**/*spec.ts',
            '{projectRoot}/package.json',
            '{workspaceRoot}/.swcrc',
            { externalDependencies: ['@swc/core', '@swc/cli'] },
          ],
          outputs: ['{projectRoot}/dist'],
        };
        return [file, { projects: { [projectRoot]: { root: projectRoot, targets: { build } } } }];
      }),
];
