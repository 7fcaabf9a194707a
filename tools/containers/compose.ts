import { execFileSync } from 'node:child_process';
import { join } from 'node:path';

/** A compose file as compose-go loads it: defaults filled in, variables replaced, short forms written out. */
export interface ComposeProject {
  readonly services: Readonly<Record<string, ComposeService>>;
  readonly networks: Readonly<Record<string, { readonly internal?: boolean }>>;
  readonly secrets: Readonly<Record<string, { readonly file: string }>>;
}

export interface ComposeService {
  readonly image: string;
  readonly build?: { readonly context: string; readonly target: string };
  readonly command: readonly string[] | null;
  readonly environment?: Readonly<Record<string, string | null>>;
  readonly secrets?: readonly { readonly source: string; readonly target: string }[];
  readonly ports?: readonly { readonly host_ip?: string; readonly published: string; readonly target: number }[];
  readonly networks: Readonly<Record<string, unknown>>;
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>;
  readonly healthcheck?: { readonly test?: readonly string[]; readonly disable?: boolean };
  readonly restart: string;
  readonly read_only?: boolean;
  readonly cap_drop?: readonly string[];
  readonly security_opt?: readonly string[];
  readonly stop_grace_period?: string;
  readonly privileged?: boolean;
  readonly deploy?: { readonly resources?: { readonly limits?: { readonly memory?: string } } };
}

const loaderFolder = join(import.meta.dirname, 'compose-loader');

/**
 * Loads a compose file with compose-go. The first call on a machine builds the loader with Go, about 20 s.
 * @param variables all that the file may refer to; nothing comes from `.env`
 * @throws Error with compose-go's own words when the file is not right
 */
export function loadCompose(
  file: string,
  options: { readonly cacheDir: string; readonly variables: Readonly<Record<string, string>> },
): ComposeProject {
  const program = join(options.cacheDir, 'compose-loader');
  execFileSync('go', ['build', '-o', program, '.'], { cwd: loaderFolder, stdio: ['ignore', 'inherit', 'inherit'] });
  try {
    const text = execFileSync(program, [file], { env: options.variables, encoding: 'utf8', stdio: 'pipe' });
    return JSON.parse(text) as ComposeProject;
  } catch (error) {
    throw new Error(((error as { stderr?: string }).stderr ?? String(error)).trim(), { cause: error });
  }
}
