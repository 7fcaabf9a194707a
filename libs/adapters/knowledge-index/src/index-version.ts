import { Unexpected } from '@answerline/errors';

/** The model that made the vectors of an index version, by its public id, and how many numbers a vector has. */
export interface Embedding {
  readonly model: string;
  readonly dimensions: number;
}

/**
 * One searchable copy of one chatbot's passages. `mapping` is the number of the field design (`KnowledgeIndex.mapping`); without an
 * `embedding` the version is lexical only. A change of any of them is another version, so vectors of two models never meet, and a
 * new version can be filled while the old one still answers.
 */
export interface IndexVersion {
  readonly chatbotId: string;
  readonly mapping: number;
  readonly embedding?: Embedding;
}

/** Longest name in characters: a file name may have 255 bytes, and both indexes add an ending of their own. */
const maxNameLength = 200;

const plain = /[a-z0-9-]/;
const namePattern = /^([a-z0-9_-]+)\.m(\d+)\.(?:lexical|d(\d+)\.([a-z0-9_-]+))$/;

/**
 * The version's name: lower-case letters, digits, `-`, `_` and `.`, which both a LanceDB table and an Elasticsearch index accept, for
 * example `0198f2….m1.lexical`. Different versions have different names, and {@link parseIndexVersionName} reads them back.
 * Throws `Unexpected` `index_version_invalid` for an empty id, numbers that are not positive integers, or a name over 200 characters.
 */
export function indexVersionName({ chatbotId, mapping, embedding }: IndexVersion): string {
  const space = embedding === undefined ? 'lexical' : `d${embedding.dimensions}.${escapePart(embedding.model)}`;
  const name = `${escapePart(chatbotId)}.m${mapping}.${space}`;
  if (name.length > maxNameLength || !namePattern.test(name)) {
    throw new Unexpected(
      'index_version_invalid',
      'An index version needs a chatbot id, a mapping and a short model id.',
    );
  }
  return name;
}

/** The version that {@link indexVersionName} made this name of; `undefined` for any other text. */
export function parseIndexVersionName(name: string): IndexVersion | undefined {
  const [, chatbotId, mapping, dimensions, model] = namePattern.exec(name) ?? [];
  if (chatbotId === undefined || mapping === undefined) return undefined;
  const version = { chatbotId: unescapePart(chatbotId), mapping: Number(mapping) };
  if (dimensions === undefined || model === undefined) return version;
  return { ...version, embedding: { model: unescapePart(model), dimensions: Number(dimensions) } };
}

/** Every other character becomes `_` and two hex digits for each of its UTF-8 bytes. */
function escapePart(part: string): string {
  return Array.from(part, (character) =>
    plain.test(character)
      ? character
      : `_${Buffer.from(character)
          .toString('hex')
          .replaceAll(/(..)(?=.)/g, '$1_')}`,
  ).join('');
}

function unescapePart(part: string): string {
  const bytes = part.replaceAll(/_([0-9a-f]{2})/g, '%$1');
  try {
    return decodeURIComponent(bytes);
  } catch {
    return part;
  }
}
