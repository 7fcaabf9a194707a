import { type Database } from '@answerline/persistence';
import { type FindPassages, type PassageSearch } from '../find-passages/find-passages.ts';
import { readChatbot } from './read-chatbot.ts';

/** What is searched for, and where. */
export interface SearchedText {
  readonly workspaceId: string;
  readonly chatbotId: string;
  readonly text: string;
  readonly limit: number;
}

/** Shows what a chatbot would find. */
export class SearchChatbot {
  readonly #database: Database;
  readonly #findPassages: FindPassages;

  constructor(database: Database, findPassages: FindPassages) {
    this.#database = database;
    this.#findPassages = findPassages;
  }

  /** Throws `chatbot_not_found`, and what {@link FindPassages} throws. */
  async execute({ workspaceId, chatbotId, text, limit }: SearchedText, signal: AbortSignal): Promise<PassageSearch> {
    const { showSources } = await readChatbot(this.#database, workspaceId, chatbotId);
    return this.#findPassages.execute({ workspaceId, chatbotId, showSources }, text, { signal, limit });
  }
}
