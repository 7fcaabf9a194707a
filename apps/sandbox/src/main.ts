import { loadConfig, readEnvironment, unsafeSettings } from '@answerline/config';
import { runProcess } from '@answerline/lifecycle';
import { startSandbox } from './start-sandbox.ts';

/** The sandbox as a process of its own, which says `SANDBOX-READY <url>` in one line when it takes calls. */
runProcess({
  name: 'sandbox',
  start: async (starting) => {
    const config = loadConfig(
      ['HOST', 'SANDBOX_PORT', 'SANDBOX_SMTP_PORT', 'DATA_DIR', 'NODE_ENV', 'PUBLIC_URL', 'ALLOW_UNSAFE'],
      readEnvironment(),
    );
    const unsafe = unsafeSettings({
      nodeEnv: config.NODE_ENV,
      publicUrl: config.PUBLIC_URL,
      sandbox: true,
      graphBaseUrl: undefined,
      generated: [],
      set: [],
      allowUnsafe: config.ALLOW_UNSAFE,
    });
    const sandbox = await startSandbox({
      host: config.HOST,
      port: config.SANDBOX_PORT,
      smtpPort: config.SANDBOX_SMTP_PORT,
      dataDir: config.DATA_DIR,
      production: unsafe.some(({ name }) => name === 'SANDBOX'),
    });
    starting.onStop('sandbox', () => sandbox.close());
    process.stdout.write(`SANDBOX-READY ${sandbox.url}\n`);
  },
});
