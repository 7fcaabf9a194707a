import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);
const root = fileURLToPath(new URL('..', import.meta.url));
const buf = join(root, 'node_modules/@bufbuild/buf/bin/buf');
const plugin = join(root, 'node_modules/ts-proto/protoc-gen-ts_proto');

/** The protos that others make their clients of. */
const publicFolder = 'libs/contracts/proto';

const everywhere = ['fileSuffix=.gen', 'stringEnums=true', 'enumsAsLiterals=true', 'exportCommonSymbols=false'];
const withoutServices = [...everywhere, 'outputServices=none', 'outputJsonMethods=false', 'outputPartialMethods=false'];

/** What is made of the protos, with ts-proto: types for everybody, and code for those who are on the wire. */
const targets = [
  {
    folder: publicFolder,
    made: 'answerline/rag/v1/rag.gen.ts',
    path: 'libs/contracts/src/rag-service.gen.ts',
    options: [...withoutServices, 'onlyTypes=true'],
  },
  {
    folder: publicFolder,
    made: 'answerline/rag/v1/rag.gen.ts',
    path: 'libs/adapters/rag-client/src/rag-service.gen.ts',
    options: [...everywhere, 'outputServices=grpc-js', 'outputJsonMethods=false', 'outputPartialMethods=false'],
  },
  {
    folder: 'libs/platform/grpc-status/proto',
    made: 'status.gen.ts',
    path: 'libs/platform/grpc-status/src/status.gen.ts',
    options: withoutServices,
  },
] as const;

/** The files that are made of the protos, without the network. Throws what buf prints when a proto cannot be read. */
export async function filesOfProtos(): Promise<{ readonly path: string; readonly text: string }[]> {
  return Promise.all(
    targets.map(async ({ folder, made, path, options }) => {
      const out = mkdtempSync(join(tmpdir(), 'protos-'));
      const template = {
        version: 'v2',
        plugins: [{ local: [process.execPath, plugin], out: '.', opt: options }],
      };
      try {
        await run(process.execPath, [buf, 'generate', folder, '--template', JSON.stringify(template), '-o', out], {
          cwd: root,
        });
        return { path, text: readFileSync(join(out, made), 'utf8') };
      } finally {
        rmSync(out, { recursive: true });
      }
    }),
  );
}

/** What buf's STANDARD rules say against the public protos; empty when they are in order. */
export async function lintOfProtos(): Promise<string> {
  const lint = {
    use: ['STANDARD'],
    // An event of a stream is called what it is.
    except: ['RPC_RESPONSE_STANDARD_NAME'],
  };
  const args = [buf, 'lint', '--config', JSON.stringify({ version: 'v2', lint })];
  return run(process.execPath, args, { cwd: join(root, publicFolder) }).then(
    () => '',
    ({ stdout, stderr }: { stdout: string; stderr: string }) => stdout || stderr,
  );
}
