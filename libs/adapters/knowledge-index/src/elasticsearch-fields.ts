import { type estypes } from '@elastic/elasticsearch';
import { passageVector } from './checked-query.ts';
import type { IndexVersion } from './index-version.ts';
import type { IndexedPassage } from './knowledge-index.ts';
import { searchableQuery, searchableText } from './searchable-text.ts';
import { stopWords, withoutAccents } from './stop-words.ts';

/** Analyzer of the field beside the English one. */
export type SecondAnalyzer = 'spanish' | 'standard';

/** A letter-like run with what an apostrophe ties to it, as the stop words are written. */
const word = /[\p{L}\p{M}\p{N}]+(?:['’][\p{L}\p{M}\p{N}]+)*/gu;

/** Nearest passages looked at, for k up to 50. Measured on 20,000 vectors: recall@50 .990 with 100, .996 with 200. */
const minCandidates = 200;
/** The server's own bound on the candidates of a search. */
const maxCandidates = 10_000;

/**
 * Settings and fields of an index. The one text is analysed twice, without the positions that only phrases need. `_source` is off:
 * nothing is read back, and the index can be filled again from Postgres.
 */
export function indexDesign({ embedding }: IndexVersion, second: SecondAnalyzer, builderSeenAt: number) {
  const text = { type: 'text', index_options: 'freqs' } as const;
  const vector = {
    type: 'dense_vector',
    dims: embedding?.dimensions ?? 0,
    similarity: 'cosine',
    // Said outright, since the default differs between versions of the server. A byte a number in memory; the search looks at the
    // whole numbers of the best again.
    index_options: { type: 'int8_hnsw' },
  } as const;
  return {
    settings: {
      number_of_shards: 1,
      auto_expand_replicas: '0-1',
      // Each write asks for a refresh itself.
      refresh_interval: '-1',
      'index.merge.policy.expunge_deletes_allowed': 0,
    },
    mappings: {
      dynamic: 'strict',
      _meta: { builderSeenAt },
      _source: { enabled: false },
      properties: {
        passage_id: { type: 'keyword', index: false },
        source_id: { type: 'keyword', doc_values: false },
        text: { ...text, analyzer: second, fields: { english: { ...text, analyzer: 'english' } } },
        ...(embedding === undefined ? {} : { vector }),
      },
    },
  } as const satisfies Partial<estypes.IndicesCreateRequest>;
}

/** Text as the standard tokenizer splits it well: it takes `hours:opening` and `today.Tomorrow` for one word. */
function plain(text: string): string {
  return withoutAccents(text).replaceAll(/(?<=\p{L})[:.](?=\p{L})/gu, ' ');
}

/** Passages as operations of a bulk, two lines each; of several with one id the last. Throws `vector_invalid`. */
export function indexOperations(version: IndexVersion, passages: readonly IndexedPassage[]): string[] {
  const operations = passages.map((passage) => {
    const document = {
      passage_id: passage.passageId,
      source_id: passage.sourceId,
      text: plain(searchableText(passage)),
      // Eight places are what 32 bits hold of a number below 1, and half as many bytes to send.
      vector: passageVector(version, passage.vector)?.map((number) => Math.round(number * 1e8) / 1e8),
    };
    const lines = `${JSON.stringify({ index: { _id: passage.passageId } })}\n${JSON.stringify(document)}`;
    return [passage.passageId, lines] as const;
  });
  return [...new Map(operations).values()];
}

/** The words of a question that say something: without accents and stop words, which cost more than they find. */
export function wordsOf(text: string): string {
  return plain(searchableQuery(text))
    .replaceAll(word, (found) => (stopWords.has(found.toLowerCase().replaceAll('’', "'")) ? '' : found))
    .trim();
}

/** The best passages by words: the sum of both fields. */
export function textSearch(words: string, k: number) {
  const match = (field: string) => ({ match: { [field]: { query: words } } });
  return { ...idsOnly(k), query: { bool: { should: [match('text'), match('text.english')] } } };
}

/** The nearest passages. The bytes find candidates; twice k of them are compared by their whole numbers. */
export function vectorSearch(vector: number[], k: number) {
  const num_candidates = Math.min(Math.max(minCandidates, 4 * k), maxCandidates);
  const knn = { field: 'vector', query_vector: vector, k, num_candidates, rescore_vector: { oversample: 2 } };
  return { ...idsOnly(k), knn };
}

/** Stored fields stay unread: the id comes from a column. */
function idsOnly(size: number) {
  return { size, track_total_hits: false, _source: false, stored_fields: '_none_', docvalue_fields: ['passage_id'] };
}
