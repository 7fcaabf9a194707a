import { DockerfileParser, type Instruction as Parsed } from 'dockerfile-ast';

/** What the instructions of our Dockerfile ask for, in the few forms that it uses. */
export type Instruction =
  | { readonly kind: 'copy'; readonly from: string | undefined; readonly source: string; readonly target: string }
  | { readonly kind: 'run'; readonly script: string; readonly fetches: boolean }
  | { readonly kind: 'workdir'; readonly path: string }
  | { readonly kind: 'env'; readonly values: Readonly<Record<string, string>> }
  | { readonly kind: 'user'; readonly uid: number; readonly gid: number }
  | { readonly kind: 'command'; readonly argv: readonly string[] }
  | { readonly kind: 'health'; readonly argv: readonly string[] }
  | { readonly kind: 'stop-signal'; readonly signal: string }
  /** Changes nothing that could be seen without an engine. */
  | { readonly kind: 'words'; readonly keyword: string };

export interface Stage {
  readonly name: string;
  /** Another stage, or an image of somebody else. */
  readonly base: string;
  readonly instructions: readonly Instruction[];
}

/**
 * Reads a Dockerfile into its stages, in their order. It takes what ours uses and refuses the rest, so that nothing is
 * passed over that an engine would do.
 */
export function readDockerfile(text: string): readonly Stage[] {
  const stages: (Stage & { readonly instructions: Instruction[] })[] = [];
  for (const parsed of DockerfileParser.parse(text).getInstructions()) {
    if (parsed.getKeyword() === 'FROM') {
      const [base = '', as, name, ...rest] = words(parsed);
      if (as?.toUpperCase() !== 'AS' || name === undefined || rest.length > 0) throw unknown(parsed);
      if (stages.some((stage) => stage.name === name)) throw unknown(parsed);
      stages.push({ name, base, instructions: [] });
      continue;
    }
    const stage = stages.at(-1);
    if (stage === undefined) throw unknown(parsed);
    stage.instructions.push(read(parsed));
  }
  return stages;
}

function read(parsed: Parsed): Instruction {
  const keyword = parsed.getKeyword();
  const content = parsed.getArgumentsContent() ?? '';
  const flags = flagsOf(parsed);
  if (content.includes('<<')) throw unknown(parsed);
  switch (keyword) {
    case 'COPY': {
      const [source, target, ...more] = words(parsed);
      const { from, ...others } = flags;
      if (source === undefined || target === undefined || more.length + Object.keys(others).length > 0) break;
      if (/[*?[\]{}$"]/.test(content)) break;
      return { kind: 'copy', from, source, target };
    }
    case 'RUN': {
      const { mount, ...others } = flags;
      // The build has folders of its own instead of a root: a path from the root would lead out of them.
      if (Object.keys(others).length > 0 || content.startsWith('[') || /(^|[\s=:(])\//.test(content)) break;
      if (mount !== undefined && !/^type=cache,target=\/root\/\.npm$/.test(mount)) break;
      return { kind: 'run', script: content, fetches: mount !== undefined };
    }
    case 'WORKDIR':
      if (!content.startsWith('/')) break;
      return { kind: 'workdir', path: content };
    case 'ENV': {
      const pairs = words(parsed).map((word) => /^([A-Z_]+)=([^$"'\\]*)$/.exec(word));
      if (pairs.some((pair) => pair === null)) break;
      return { kind: 'env', values: Object.fromEntries(pairs.map((pair) => [pair?.[1] ?? '', pair?.[2] ?? ''])) };
    }
    case 'USER': {
      const [, uid, gid] = /^(\d+):(\d+)$/.exec(content) ?? [];
      if (uid === undefined) break;
      return { kind: 'user', uid: Number(uid), gid: Number(gid) };
    }
    case 'CMD': {
      const argv = jsonArguments(content);
      if (argv === undefined) break;
      return { kind: 'command', argv };
    }
    case 'HEALTHCHECK': {
      const argv = jsonArguments(content.replace(/^CMD\s+/, ''));
      if (argv === undefined) break;
      return { kind: 'health', argv };
    }
    case 'STOPSIGNAL':
      return { kind: 'stop-signal', signal: content };
    case 'ARG':
    case 'EXPOSE':
    case 'LABEL':
      return { kind: 'words', keyword };
    default:
  }
  throw unknown(parsed);
}

const words = (parsed: Parsed): string[] => parsed.getArguments().map((argument) => argument.getValue());

interface Flag {
  getName(): string;
  getValue(): string | null;
}

function flagsOf(parsed: Parsed & { getFlags?(): Flag[] }): Record<string, string> {
  const flags = parsed.getFlags?.() ?? [];
  const names = flags.map((flag) => flag.getName());
  if (new Set(names).size < names.length) throw unknown(parsed);
  return Object.fromEntries(flags.map((flag) => [flag.getName(), flag.getValue() ?? '']));
}

/** The exec form; a shell between the engine and the process would keep signals from it. */
function jsonArguments(content: string): readonly string[] | undefined {
  try {
    const value = JSON.parse(content) as unknown;
    return Array.isArray(value) && value.every((word) => typeof word === 'string') ? value : undefined;
  } catch {
    return undefined;
  }
}

const unknown = (parsed: Parsed): Error =>
  new Error(
    `Line ${String(parsed.getRange().start.line + 1)} of the Dockerfile is not understood: ${parsed.toString()}`,
  );
