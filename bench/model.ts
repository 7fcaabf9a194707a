import { type Started, type Workplace } from './workplace.ts';

/**
 * The stub of an OpenAI-compatible endpoint as a process of its own.
 *
 * @param delayMs what each call takes
 */
export async function startModel(
  workplace: Workplace,
  name: string,
  delayMs: number,
): Promise<Started & { readonly url: string }> {
  const started = await workplace.start(name, {
    file: 'libs/testing/src/stub-openai/stub-openai.command.ts',
    args: ['--delay-ms', String(delayMs)],
    ready: /^STUB-OPENAI-READY /,
  });
  return { ...started, url: started.readyLine.split(' ')[1] ?? '' };
}
