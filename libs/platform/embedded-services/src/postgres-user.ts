import { execFileSync, spawnSync } from 'node:child_process';
import { InvalidInput } from '@answerline/errors';

/** How a Postgres program is started: `prefix` goes before its own words, `uid` and `gid` to spawn. */
export interface RunAs {
  readonly prefix: readonly string[];
  readonly uid?: number;
  readonly gid?: number;
  /** Who owns the data files; undefined means ourselves. */
  readonly owner?: { readonly uid: number; readonly gid: number };
}

const userName = 'postgres';

/**
 * Postgres refuses to run as root, so root starts it as the user `postgres` (made when missing). That user must get to its
 * programs and to the data. Under a closed home such as /root it may not, and opening a home to everybody is not ours to do:
 * there the process gets one capability that lets it pass folders (setpriv of util-linux; read-only if the machine has that
 * one, else the one that a container normally has). Throws InvalidInput with the ways out when that fails too.
 */
export function postgresUser(folders: readonly string[], onProgress: (line: string) => void): RunAs {
  if (process.getuid?.() !== 0) return { prefix: [] };
  const owner = findUser() ?? createUser(onProgress);
  const asUser: RunAs = { prefix: [], ...owner, owner };
  if (mayEnter(folders, asUser)) return asUser;

  for (const capability of ['dac_read_search', 'dac_override']) {
    const passing: RunAs = {
      prefix: [
        'setpriv',
        `--reuid=${owner.uid}`,
        `--regid=${owner.gid}`,
        '--clear-groups',
        `--inh-caps=+${capability}`,
        `--ambient-caps=+${capability}`,
        // Else access(2), which Postgres asks about its own programs, ignores the capability.
        '--securebits=+no_setuid_fixup',
      ],
      owner,
    };
    if (mayEnter(folders, passing)) return passing;
  }
  throw new InvalidInput(
    'postgres_folder_closed',
    `Postgres runs as the user ${userName}, which may not enter ${folders.join(' or ')}. Move the project to a folder that ` +
      'other users may enter, run it as a normal user, or set DATABASE_URL.',
  );
}

function findUser(): { uid: number; gid: number } | undefined {
  const id = (flag: string) => Number(execFileSync('id', [flag, userName], { encoding: 'utf8', stdio: 'pipe' }));
  try {
    return { uid: id('-u'), gid: id('-g') };
  } catch {
    return undefined;
  }
}

function createUser(onProgress: (line: string) => void): { uid: number; gid: number } {
  onProgress(`Making the system user ${userName}, because Postgres does not run as root`);
  const flags = [
    '--system',
    '--user-group',
    '--no-create-home',
    '--home-dir',
    '/nonexistent',
    '--shell',
    '/usr/sbin/nologin',
  ];
  const made = spawnSync('useradd', [...flags, userName], { encoding: 'utf8' });
  const user = findUser();
  if (user) return user;
  throw new InvalidInput(
    'postgres_user_missing',
    `Postgres does not run as root, and the user ${userName} could not be made (${reason(made)}). Run as a normal user, or ` +
      'set DATABASE_URL.',
  );
}

const reason = (result: { error?: Error | undefined; stderr: string | null }) =>
  result.error?.message ?? result.stderr?.trim() ?? 'no reason given';

function mayEnter(folders: readonly string[], runAs: RunAs): boolean {
  return folders.every((folder) => {
    const [file = 'test', ...args] = [...runAs.prefix, 'test', '-x', folder];
    return spawnSync(file, args, { cwd: '/', ...spawnIds(runAs) }).status === 0;
  });
}

/** The ids as spawn wants them: absent, not undefined, when there are none. */
export function spawnIds(runAs: RunAs): { uid?: number; gid?: number } {
  return runAs.uid === undefined || runAs.gid === undefined ? {} : { uid: runAs.uid, gid: runAs.gid };
}
