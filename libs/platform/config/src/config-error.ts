import { InvalidInput } from '@answerline/errors';

/** A process cannot start as it is set up. `problems` has one line each, fit for a terminal, without any value that was set. */
export class ConfigError extends InvalidInput {
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super('config_invalid', problems.join('\n'));
    this.problems = problems;
  }
}
