export { AnswerTurn, type TurnEnd } from './answer-turn/answer-turn.ts';
export { MakeAnswer } from './make-answer/make-answer.ts';
export { SyncSource } from './sync-source/sync-source.ts';
export { RagModule } from './rag.module.ts';
export { RagServiceModule } from './answer-questions/rag-service.module.ts';
export { RebuildIndex, type RebuildProgress } from './build-index/rebuild-index.ts';
