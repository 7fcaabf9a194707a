import { Transient } from '@answerline/errors';

/**
 * Questions that are answered at once outside of conversations. They cost the operator's money and share the model's rate limit with the
 * contacts of all workspaces: one workspace may hold half of what one process gives away.
 */
const SLOTS = { workspace: 8, process: 16 } as const;
/** An answer takes a few seconds. */
const RETRY_AFTER_MS = 2_000;

/** Bounds how many questions are answered at once, by workspace and in all. */
export class QuestionSlots {
  readonly #taken = new Map<string, number>();
  #all = 0;

  /** Does `work` in a slot of the workspace. Throws Transient `too_many_questions` when none is free. */
  async use<Result>(workspaceId: string, work: () => Promise<Result>): Promise<Result> {
    const taken = this.#taken.get(workspaceId) ?? 0;
    if (taken >= SLOTS.workspace || this.#all >= SLOTS.process) {
      throw new Transient('too_many_questions', 'Too many questions are being answered. Ask again in a moment.', {
        retryAfterMs: RETRY_AFTER_MS,
      });
    }
    this.#taken.set(workspaceId, taken + 1);
    this.#all += 1;
    try {
      return await work();
    } finally {
      this.#all -= 1;
      const left = (this.#taken.get(workspaceId) ?? 1) - 1;
      if (left === 0) this.#taken.delete(workspaceId);
      else this.#taken.set(workspaceId, left);
    }
  }
}
