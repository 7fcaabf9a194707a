import { ConfigError } from './config-error.ts';
import { guardedNames, type GuardedName, type SettingName } from './settings.ts';

/** Where Meta's Graph API stands: used when neither META_GRAPH_BASE_URL nor the sandbox says otherwise. */
export const META_GRAPH_URL = 'https://graph.facebook.com';

/** What the start rule looks at. */
export interface StartFacts {
  readonly nodeEnv: string;
  readonly publicUrl: string | undefined;
  /** Whether the sandbox will run, after its default (see {@link sandboxIsOn}). */
  readonly sandbox: boolean;
  readonly graphBaseUrl: string | undefined;
  /** Secrets that this installation made up for itself. */
  readonly generated: readonly SettingName[];
  /** Settings that somebody set. A generated one is not among them. */
  readonly set: readonly SettingName[];
  readonly allowUnsafe: readonly GuardedName[];
}

/** One reason against a start: the setting and what is wrong with it, as in "SANDBOX" "is on". */
export interface UnsafeSetting {
  readonly name: GuardedName;
  readonly why: string;
}

/**
 * Whether the sandbox stands in for Meta: as SANDBOX says, else on where no META_GRAPH_BASE_URL is set.
 * @throws ConfigError when both say something: messages can go to one place only
 */
export function sandboxIsOn(sandbox: boolean | undefined, graphBaseUrl: string | undefined): boolean {
  if (sandbox && graphBaseUrl !== undefined) {
    throw new ConfigError([
      'SANDBOX is on and META_GRAPH_BASE_URL is set: the sandbox stands in for Meta, so unset one of them',
    ]);
  }
  return sandbox ?? graphBaseUrl === undefined;
}

/**
 * What makes a start refused: an installation that others can reach must not run on the sandbox, send its tokens to
 * anyone but Meta, or use secrets that nobody chose. Empty on a machine that only its owner reaches, and without the
 * names in `allowUnsafe`.
 */
export function unsafeSettings(facts: StartFacts): UnsafeSetting[] {
  if (exposedBecause(facts) === undefined) return [];
  return guardedNames.flatMap((name) => {
    const why = facts.allowUnsafe.includes(name) ? undefined : unfit(name, facts);
    return why === undefined ? [] : [{ name, why }];
  });
}

/**
 * Applies {@link unsafeSettings}.
 * @throws ConfigError with one line that names every setting in the way, what is wrong with it, and the way out
 */
export function refuseUnsafe(facts: StartFacts): void {
  const unsafe = unsafeSettings(facts);
  if (unsafe.length === 0) return;
  const faults = unsafe.map(({ name, why }) => `${name} ${why}`).join('; ');
  const names = unsafe.map(({ name }) => name).join(',');
  throw new ConfigError([
    `Refusing to start, because ${exposedBecause(facts)}: ${faults}. Mend this, or accept the risk with ALLOW_UNSAFE=${names}`,
  ]);
}

function exposedBecause({ nodeEnv, publicUrl }: StartFacts): string | undefined {
  if (nodeEnv === 'production') return 'NODE_ENV is production';
  if (publicUrl !== undefined && !isLoopback(publicUrl)) return 'PUBLIC_URL can be reached from outside';
  return undefined;
}

function unfit(name: GuardedName, facts: StartFacts): string | undefined {
  switch (name) {
    case 'SANDBOX':
      return facts.sandbox ? 'is on' : undefined;
    case 'META_GRAPH_BASE_URL':
      return facts.graphBaseUrl === undefined || isMeta(facts.graphBaseUrl) ? undefined : "is not Meta's address";
    default:
      if (facts.generated.includes(name)) return 'was generated';
      return facts.set.includes(name) ? undefined : 'is not set';
  }
}

const isMeta = (text: string) => URL.parse(text)?.origin === META_GRAPH_URL;

/** Names of this machine only (RFC 6761 6.3, RFC 1122 3.2.1.3). The URL parser has already made one spelling of an IPv4. */
function isLoopback(text: string): boolean {
  const host = URL.parse(text)?.hostname.replace(/\.$/, '') ?? '';
  return host === 'localhost' || host.endsWith('.localhost') || host === '[::1]' || /^127\.\d+\.\d+\.\d+$/.test(host);
}
