import { createServer } from 'node:net';
import { ConfigError, type SettingName } from '@answerline/config';

/**
 * Runs `listen` and turns its usual failures into one line that names the setting to change.
 * @param setting the one that the port came from, such as PORT or SANDBOX_PORT
 * @returns what `listen` returns
 * @throws ConfigError when the port is in use, not allowed, or HOST is not an address of this machine; else what `listen` throws
 */
export async function listenOn<T>(setting: SettingName, listen: () => Promise<T>): Promise<T> {
  try {
    return await listen();
  } catch (error) {
    throw listenProblem(error, setting) ?? error;
  }
}

/**
 * Listens and lets go again, so that a start which cannot get its port fails before anything slow was started. Another program
 * may still take the port afterwards.
 * @throws ConfigError as {@link listenOn} does
 */
export async function requirePort(setting: SettingName, port: number, host: string): Promise<void> {
  await listenOn(
    setting,
    () =>
      new Promise<void>((resolve, reject) => {
        const server = createServer();
        server.once('error', reject);
        server.listen(port, host, () => server.close(() => resolve()));
      }),
  );
}

/** The ConfigError for an error of listening, or undefined for any other error. */
export function listenProblem(error: unknown, setting?: SettingName): ConfigError | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined;
  const port = 'port' in error ? String(error.port) : 'its port';
  const elsewhere = setting === undefined ? 'choose another port in the settings' : `set ${setting} to a free port`;
  switch (error.code) {
    case 'EADDRINUSE':
      return new ConfigError([`Port ${port} is in use by another program: stop that program, or ${elsewhere}`]);
    case 'EACCES':
      return 'syscall' in error && error.syscall === 'listen'
        ? new ConfigError([`Port ${port} needs rights that this process does not have: ${elsewhere} from 1024 up`])
        : undefined;
    case 'EADDRNOTAVAIL':
      return new ConfigError(['HOST is not an address of this machine, for example HOST=127.0.0.1']);
    default:
      return undefined;
  }
}
