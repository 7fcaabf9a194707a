/** One step of a command: what the project's Node is started with. */
interface Step {
  title?: string;
  args: string[];
  env?: Record<string, string>;
}

export const commands: Record<string, (args: string[]) => Step[]>;
