// The dependency rule: app → feature → adapter → contracts, with platform below all. docs/adr/0001 says why.
const layer = { app: '^apps/', feature: '^libs/features/', adapter: '^libs/adapters/', platform: '^libs/platform/' };
const pure = '^libs/(contracts|conversation-rules)/';
const parts = '^libs/(process|rag)-parts/';
const testFile = '\\.(int-|es-)?spec\\.ts$';
const npm = (pattern) => `node_modules/(${pattern})`;

const forbid = (name, comment, from, to) => ({ name, comment, severity: 'error', from, to });

export default {
  forbidden: [
    forbid(
      'no-circular',
      'A cycle hides who owns what. Entities may name each other.',
      {},
      { circular: true, viaOnly: { pathNot: '\\.entity\\.ts$' } },
    ),
    forbid('no-unresolvable', 'Every import resolves.', {}, { couldNotResolve: true }),
    forbid(
      'app-is-top',
      'Nothing imports an app, except standalone, which starts the sandbox, and tests.',
      { path: '^(libs|apps)/', pathNot: [testFile, '^apps/standalone/', '^libs/testing/', '^apps/([^/]+)/'] },
      { path: layer.app },
    ),
    forbid(
      'app-not-app',
      'Apps do not import each other, except standalone, which starts the sandbox.',
      { path: '^apps/([^/]+)/', pathNot: '^apps/standalone/' },
      { path: layer.app, pathNot: '^apps/$1/' },
    ),
    forbid(
      'feature-not-feature',
      'Features meet over rows, doorbells and events.',
      { path: '^libs/features/([^/]+)/', pathNot: testFile },
      { path: layer.feature, pathNot: '^libs/features/$1/' },
    ),
    forbid(
      'adapter-not-up',
      'An adapter imports contracts and platform only.',
      { path: layer.adapter, pathNot: testFile },
      { path: [layer.app, layer.feature, '^libs/testing/'] },
    ),
    forbid(
      'adapter-not-adapter',
      'Adapters do not know each other.',
      { path: '^libs/adapters/([^/]+)/', pathNot: testFile },
      { path: layer.adapter, pathNot: '^libs/adapters/$1/' },
    ),
    forbid(
      'platform-is-bottom',
      'platform has no product words: it imports platform only.',
      { path: layer.platform, pathNot: testFile },
      { path: [layer.app, layer.feature, layer.adapter, pure, '^libs/testing/'] },
    ),
    forbid(
      'contracts-is-pure',
      'contracts and conversation-rules run in a browser: zod and each other, no Nest, no I/O.',
      { path: pure, pathNot: testFile },
      { pathNot: [pure, npm('zod')] },
    ),
    forbid(
      'process-parts-below-apps',
      'process-parts and rag-parts are how a process starts: apps import them, libs do not.',
      { path: '^libs/', pathNot: [parts, testFile] },
      { path: parts },
    ),
    forbid(
      'process-parts-not-features',
      'process-parts connects adapters; which features run is for the app to say.',
      { path: parts, pathNot: testFile },
      { path: layer.feature },
    ),
    forbid(
      'public-face-only',
      'A package is imported by its name, which leads to its src/index.ts; nothing reaches around it by a path.',
      { path: '^(apps/[^/]+|libs/(?:platform|adapters|features)/[^/]+|libs/[^/]+)/' },
      { path: '^(apps|libs)/', pathNot: ['^$1/', '/src/index\\.ts$'] },
    ),
    forbid(
      'testing-only-in-tests',
      'libs/testing is for specs, e2e and benches.',
      { path: '^(apps|libs)/', pathNot: [testFile, '^libs/testing/'] },
      { path: '^libs/testing/' },
    ),
    forbid(
      'nats-in-messaging',
      'Only adapters/messaging speaks NATS.',
      { path: '^(apps|libs)/', pathNot: ['^libs/adapters/messaging/', testFile, '^libs/testing/'] },
      { path: npm('@nats-io') },
    ),
    forbid(
      'postgres-in-persistence',
      'Only adapters/persistence speaks to Postgres.',
      {
        path: '^(apps|libs)/',
        pathNot: ['^libs/adapters/persistence/', '^libs/platform/embedded-services/', testFile, '^libs/testing/'],
      },
      { path: npm('typeorm|pg|@nestjs/typeorm') },
    ),
    forbid(
      'lancedb-in-knowledge-index',
      'Only adapters/knowledge-index speaks to the index.',
      { path: '^(apps|libs)/', pathNot: ['^libs/adapters/knowledge-index/', testFile] },
      { path: npm('@lancedb|apache-arrow|@elastic') },
    ),
    forbid(
      'undici-in-outbound-http',
      'Only platform/outbound-http and the sandbox call out.',
      {
        path: '^(apps|libs)/',
        pathNot: ['^libs/platform/outbound-http/', '^apps/sandbox/', testFile, '^libs/testing/'],
      },
      { path: [npm('undici'), '^(node:)?(http|https|http2)$'] },
    ),
    forbid(
      'doors-are-leaves',
      'Controllers and consumers are doors: only a module and specs import them.',
      { path: '^libs/', pathNot: ['\\.(module|worker)\\.ts$', testFile] },
      { path: '\\.(controller|consumer|worker)\\.ts$' },
    ),
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    // Ours only: the entry of many an npm package lies in a dist of its own.
    exclude: { path: '^(apps|libs)/.+/dist/' },
    tsPreCompilationDeps: true,
    combinedDependencies: true,
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['@answerline/source', 'import', 'node', 'default'],
    },
  },
};
