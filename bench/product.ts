import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { type Started, type Workplace } from './workplace.ts';

/** The four processes, in the order in which they start. */
const services = ['rag', 'gateway', 'ingest', 'notifier'] as const;
const countStatements = fileURLToPath(new URL('count-statements.ts', import.meta.url));
const pollMs = 10;

/** The product on the services of a workplace: as one process, or as its four. */
export class Product {
  readonly operatorKey = randomBytes(24).toString('hex');
  readonly url: string;
  readonly #workplace: Workplace;
  #env: Readonly<Record<string, string>>;
  #running = new Map<string, Started>();

  private constructor(workplace: Workplace, port: number, grpcPort: number, graphBaseUrl: string) {
    this.#workplace = workplace;
    this.url = `http://127.0.0.1:${port}`;
    this.#env = {
      PORT: String(port),
      DATA_DIR: join(workplace.folder, 'product'),
      DATABASE_URL: workplace.postgres.url,
      NATS_URL: workplace.natsUrl,
      META_GRAPH_BASE_URL: graphBaseUrl,
      ENCRYPTION_KEYS: `k1:${randomBytes(32).toString('base64')}`,
      OPERATOR_KEY: this.operatorKey,
      INTERNAL_TOKEN: randomBytes(24).toString('hex'),
      GRPC_PORT: String(grpcPort),
      RAG_URL: `grpc://127.0.0.1:${grpcPort}`,
    };
  }

  static async at(workplace: Workplace, graphBaseUrl: string): Promise<Product> {
    return new Product(workplace, await workplace.freePort(), await workplace.freePort(), graphBaseUrl);
  }

  /** Process ids by name. */
  get pids(): ReadonlyMap<string, number> {
    return new Map([...this.#running].map(([name, { pid }]) => [name, pid]));
  }

  /** Settings from the next start on. */
  configure(settings: Readonly<Record<string, string>>): void {
    this.#env = { ...this.#env, ...settings };
  }

  async startStandalone(): Promise<void> {
    await this.#start('standalone', this.#env);
  }

  /** Starts the four with their statements counted; the database must be migrated. */
  async startServices(): Promise<void> {
    for (const name of services) {
      const port = name === 'gateway' ? this.#env['PORT'] : String(await this.#workplace.freePort());
      await this.#start(name, {
        ...this.#env,
        PORT: port ?? '',
        NODE_OPTIONS: `--import ${countStatements}`,
        BENCH_STATEMENTS: this.#statementsFile(name),
      });
    }
  }

  /** Statements that each of the four has sent to Postgres since it started, by name. */
  async statements(): Promise<Map<string, Map<string, number>>> {
    const counts = new Map<string, Map<string, number>>();
    for (const [name, { pid }] of this.#running) {
      const file = this.#statementsFile(name);
      rmSync(file, { force: true });
      process.kill(pid, 'SIGUSR2');
      while (!existsSync(file) || readFileSync(file, 'utf8') === '') await delay(pollMs);
      counts.set(name, new Map(Object.entries(JSON.parse(readFileSync(file, 'utf8')) as Record<string, number>)));
    }
    return counts;
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#running.values()].map((started) => started.stop()));
    this.#running = new Map();
  }

  #statementsFile(name: string): string {
    return join(this.#workplace.folder, `statements-${name}.json`);
  }

  async #start(name: string, env: Readonly<Record<string, string>>): Promise<void> {
    const started = await this.#workplace.start(name, {
      file: `apps/${name}/dist/main.js`,
      env,
      ready: { url: `http://127.0.0.1:${env['PORT'] ?? ''}/health/ready` },
    });
    this.#running.set(name, started);
  }
}
