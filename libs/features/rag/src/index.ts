export { AnswerTurn, type TurnEnd } from './answer-turn/answer-turn.ts';
export { SyncSource } from './sync-source/sync-source.ts';
export { RagModule } from './rag.module.ts';
