import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
} from 'node:fs';
import { basename, delimiter, dirname, join, resolve } from 'node:path';
import { filesOfContext } from './docker-ignore.ts';
import { readDockerfile, type Instruction, type Stage } from './dockerfile.ts';

/** A target of the Dockerfile, laid out in a folder instead of in layers. */
export interface BuiltImage {
  /** What a container would see as `/`. */
  readonly root: string;
  readonly workdir: string;
  readonly env: Readonly<Record<string, string>>;
  readonly user: { readonly uid: number; readonly gid: number };
  readonly command: readonly string[];
  readonly health: readonly string[];
  readonly stopSignal: string;
}

/** The state of a stage after some of its instructions. */
interface Layer extends BuiltImage {
  /** The same for the same instructions on the same files. Asked for only where it is worth the reading. */
  readonly key: () => string;
}

export interface Builder {
  /** The image of a target. Stages are built once. */
  image(target: string): BuiltImage;
  /** Deletes from the cache what none of the images so far needed. */
  forgetUnused(): void;
}

/** The only image of somebody else that the Dockerfile may begin with: what it has is made by {@link baseImage}. */
const baseImagePattern = /^node:(\d+)\.(\d+)-bookworm-slim$/;

/**
 * Performs a Dockerfile without an engine: COPY and RUN in folders under `workDir`, one a stage, with the Node that runs us
 * as the base image. What a stage has after it fetched packages is kept in `cacheDir`, by all that it was made from.
 *
 * It needs root, because the files of an image belong to root and to the user that the process runs as.
 */
export function createBuilder(options: {
  readonly context: string;
  readonly workDir: string;
  readonly cacheDir: string;
}): Builder {
  const { context, workDir, cacheDir } = options;
  const stages = readDockerfile(readFileSync(join(context, 'Dockerfile'), 'utf8'));
  const contextFiles = filesOfContext(context, readFileSync(join(context, '.dockerignore'), 'utf8'));
  const built = new Map<string, Layer>();
  const used = new Set<string>();
  let contextKey: string | undefined;

  const layerOf = (name: string): Layer => {
    const done = built.get(name);
    if (done) return done;
    const stage = stages.find((each) => each.name === name);
    const layer = stage ? buildStage(stage) : startLayer(name);
    built.set(name, layer);
    return layer;
  };

  function startLayer(image: string): Layer {
    const [, major, minor] = baseImagePattern.exec(image) ?? [];
    const running = process.versions.node.split('.');
    if (major !== running[0] || minor !== running[1]) {
      throw new Error(
        `The Dockerfile begins with ${image}, and this is Node ${process.versions.node}: change one of them.`,
      );
    }
    const root = join(workDir, 'base-image');
    layBaseImage(root);
    const env = { PATH: '/usr/local/bin:/usr/bin:/bin' };
    const user = { uid: 0, gid: 0 };
    return { key: () => image, root, workdir: '/', env, user, command: [], health: [], stopSignal: 'SIGTERM' };
  }

  function buildStage({ name, base, instructions }: Stage): Layer {
    const from = layerOf(base);
    const root = join(workDir, name);
    mkdirSync(root, { recursive: true });
    const start = { ...from, root };
    // What follows the last fetch is quick, and done each time.
    const fetchedAt = instructions.findLastIndex((each) => each.kind === 'run' && each.fetches) + 1;
    const [fetching, rest] = [instructions.slice(0, fetchedAt), instructions.slice(fetchedAt)];
    const fetched = fetching.reduce(after, start);
    if (fetchedAt === 0) {
      link(from.root, root);
    } else {
      const archive = `${fetched.key()}.tar`;
      used.add(archive);
      if (existsSync(join(cacheDir, archive))) {
        execFileSync('tar', ['-xf', join(cacheDir, archive), '-C', root]);
      } else {
        link(from.root, root);
        fetching.reduce(perform, start);
        mkdirSync(cacheDir, { recursive: true });
        const draft = join(cacheDir, `.${String(process.pid)}.tar`);
        execFileSync('tar', ['-cf', draft, '-C', root, '.']);
        renameSync(draft, join(cacheDir, archive));
      }
    }
    return rest.reduce(perform, fetched);
  }

  /** What the key of a layer depends on: the instruction, and the content of what it copies. */
  function nextKey(key: string, instruction: Instruction): string {
    const hash = createHash('sha256').update(key).update(JSON.stringify(instruction));
    if (instruction.kind === 'copy') {
      if (instruction.from === undefined) hash.update((contextKey ??= contentKey(context, contextFiles)));
      else {
        const source = join(layerOf(instruction.from).root, instruction.source);
        hash.update(contentKey(source, pathsIn(source)));
      }
    }
    return hash.digest('hex');
  }

  function perform(layer: Layer, instruction: Instruction): Layer {
    const here = join(layer.root, layer.workdir);
    if (instruction.kind === 'copy') {
      const target = resolve(layer.workdir, instruction.target);
      copyInto(instruction, join(layer.root, target));
    } else if (instruction.kind === 'run') {
      const { status, stdout, stderr } = spawnSync('sh', ['-c', instruction.script], {
        cwd: here,
        env: { ...environmentOfBuild(), ...withoutPath(layer.env) },
        encoding: 'utf8',
        maxBuffer: 64 * 1024 * 1024,
      });
      if (status !== 0) throw new Error(`RUN ${instruction.script} ended with ${String(status)}:\n${stdout}${stderr}`);
    } else if (instruction.kind === 'workdir') {
      mkdirSync(join(layer.root, instruction.path), { recursive: true });
    }
    return after(layer, instruction);
  }

  /** What an instruction says about the layer, whether or not its files were made just now. */
  function after(layer: Layer, instruction: Instruction): Layer {
    let key: string | undefined;
    return { ...layer, ...saidBy(instruction, layer), key: () => (key ??= nextKey(layer.key(), instruction)) };
  }

  function copyInto({ from, source }: Extract<Instruction, { kind: 'copy' }>, target: string): void {
    if (from === undefined) {
      if (source !== '.') throw new Error(`COPY ${source}: only the whole context is copied.`);
      for (const file of contextFiles) {
        mkdirSync(dirname(join(target, file)), { recursive: true });
        copyFileSync(join(context, file), join(target, file));
      }
      return;
    }
    const folder = join(layerOf(from).root, source);
    if (!lstatSync(folder).isDirectory()) throw new Error(`COPY --from=${from} ${source}: only folders are copied.`);
    link(folder, target);
  }

  return {
    image: (target) => {
      if (!stages.some(({ name }) => name === target)) throw new Error(`The Dockerfile has no target ${target}.`);
      return layerOf(target);
    },
    forgetUnused: () => {
      for (const file of readdirSync(cacheDir)) if (!used.has(file)) rmSync(join(cacheDir, file));
    },
  };
}

function saidBy(instruction: Instruction, { env }: Layer): Partial<BuiltImage> {
  switch (instruction.kind) {
    case 'workdir':
      return { workdir: instruction.path };
    case 'env':
      return { env: { ...env, ...instruction.values } };
    case 'user':
      return { user: { uid: instruction.uid, gid: instruction.gid } };
    case 'command':
      return { command: instruction.argv };
    case 'health':
      return { health: instruction.argv };
    case 'stop-signal':
      return { stopSignal: instruction.signal };
    case 'copy':
    case 'run':
    case 'words':
      return {};
  }
}

/** The content of a folder under `target`, as hard links: nothing of ours changes a file in place. */
function link(folder: string, target: string): void {
  mkdirSync(target, { recursive: true });
  execFileSync('cp', ['-al', '--remove-destination', `${folder}/.`, target]);
}

/** The libraries that Debian's libc6 brings, which every image of Debian has. */
const libcLibraries = /^lib(anl|c|dl|m|nss_dns|nss_files|pthread|resolv|rt|util)\.so\.\d+$/;

/** Of the base image what programs of Node need: Node itself, the libraries that it loads, and those of the C library. */
function layBaseImage(root: string): void {
  const put = (file: string, target = file): void => {
    mkdirSync(dirname(join(root, target)), { recursive: true });
    copyFileSync(file, join(root, target));
  };
  put(process.execPath, '/usr/local/bin/node');
  const lines = execFileSync('ldd', [process.execPath], { encoding: 'utf8' });
  const loaded = [...lines.matchAll(/(\/\S+) \(0x/g)].map(([, file = '']) => file);
  const libcFolder = dirname(loaded.find((file) => basename(file) === 'libc.so.6') ?? '');
  const ofLibc = readdirSync(libcFolder).filter((name) => libcLibraries.test(name));
  for (const file of new Set([...loaded, ...ofLibc.map((name) => join(libcFolder, name))])) put(file);
  mkdirSync(join(root, 'tmp'));
  chmodSync(join(root, 'tmp'), 0o1777);
}

/** What RUN gets of ours: where programs and npm's settings are, and nothing that npm or Jest set for their own children. */
function environmentOfBuild(): NodeJS.ProcessEnv {
  const path = (process.env.PATH ?? '').split(delimiter).filter((folder) => basename(folder) !== '.bin');
  const passed = ['HOME', 'TMPDIR', 'HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY', 'NODE_EXTRA_CA_CERTS'];
  return {
    ...Object.fromEntries(passed.map((name) => [name, process.env[name]])),
    PATH: [dirname(process.execPath), ...path].join(delimiter),
  };
}

const withoutPath = ({ PATH: _, ...env }: Readonly<Record<string, string>>): Readonly<Record<string, string>> => env;

function contentKey(folder: string, paths: readonly string[]): string {
  const hash = createHash('sha256');
  for (const path of paths) {
    const file = join(folder, path);
    const entry = lstatSync(file);
    hash.update(`${path}\n`);
    if (entry.isSymbolicLink()) hash.update(readlinkSync(file));
    else if (entry.isFile()) hash.update(createHash('sha256').update(readFileSync(file)).digest());
  }
  return hash.digest('hex');
}

const pathsIn = (folder: string): string[] => readdirSync(folder, { recursive: true, encoding: 'utf8' }).toSorted();
