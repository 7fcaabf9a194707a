import { join } from 'node:path';
import { ElasticsearchKnowledgeIndex, LanceKnowledgeIndex, type KnowledgeIndex } from '@answerline/knowledge-index';
import { type StartingProcess } from '@answerline/lifecycle';

/**
 * Opens the knowledge index for its one writer: Elasticsearch where there is an address, else LanceDB under DATA_DIR. Readiness asks it,
 * and it is closed when the process stops. An Elasticsearch that is away stops no start.
 */
export async function openKnowledgeIndex(
  starting: StartingProcess,
  options: { readonly dataDir: string; readonly elasticsearchUrl: string | undefined },
): Promise<KnowledgeIndex> {
  const { dataDir, elasticsearchUrl } = options;
  const index =
    elasticsearchUrl === undefined
      ? await LanceKnowledgeIndex.open({ folder: join(dataDir, 'index'), mode: 'write' })
      : ElasticsearchKnowledgeIndex.open({ url: elasticsearchUrl });
  starting.onStop('knowledge index', () => index.close());
  starting.health.add('knowledge_index', () => index.health());
  return index;
}
