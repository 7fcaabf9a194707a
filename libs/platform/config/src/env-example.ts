import { settingNames, settingOf, type SettingName } from './settings.ts';

/** One setting as documents show it. */
export interface SettingRow {
  readonly name: SettingName;
  readonly description: string;
  /** Undefined when an unset variable has no value; an empty list has the empty text. */
  readonly defaultText: string | undefined;
  readonly secret: boolean;
}

/** All settings, in the order of the catalogue. */
export function settingsCatalogue(): SettingRow[] {
  return settingNames.map((name) => {
    const { schema, secret = false, default: defaultText } = settingOf(name);
    return { name, description: schema.description ?? '', defaultText, secret };
  });
}

const head = `# Every setting of Answerline, made by "npm run generate" from libs/platform/config/src/settings.ts.
# Copy this file to .env and take the # away where you want another value. Variables of the process go before .env.
# A secret can also be read from a file: OPERATOR_KEY_FILE=/run/secrets/operator_key
`;

/** The text of `.env.example`. Every setting is commented out, so that a copy of the file changes nothing. */
export function renderEnvExample(): string {
  const blocks = settingsCatalogue().map(({ name, description, defaultText, secret }) => {
    const { example } = settingOf(name);
    const note = defaultText ? [] : [`# Example: ${example}`];
    return [`# ${description}${secret ? ' Secret.' : ''}`, ...note, `#${name}=${defaultText ?? ''}`].join('\n');
  });
  return `${[head, ...blocks].join('\n\n').replace('\n\n\n', '\n\n')}\n`;
}
