import { type Database } from '@answerline/persistence';

/**
 * All rows of one workspace, as JSON in a fixed order, by table: of every table that has a `workspace_id`, as the database
 * itself lists them, and of `workspaces`. For tests that something leaves a workspace as it is.
 *
 * @param changing columns by table that change by themselves, and are left out
 */
export async function rowsOfWorkspace(
  database: Database,
  workspaceId: string,
  changing: Readonly<Record<string, readonly string[]>> = {},
): Promise<Record<string, string[]>> {
  const tables = await database.query<{ name: string }>(
    `SELECT table_name AS name FROM information_schema.columns
     WHERE table_schema = 'public' AND column_name = 'workspace_id' ORDER BY 1`,
  );
  const rowsOf = async (table: string, column: string): Promise<[string, string[]]> => {
    const rows = await database.query<{ row: string }>(
      `SELECT (to_jsonb(t) - $2::text[])::text AS row FROM "${table}" t WHERE ${column} = $1 ORDER BY 1`,
      [workspaceId, changing[table] ?? []],
    );
    return [table, rows.map(({ row }) => row)];
  };
  return Object.fromEntries(
    await Promise.all([rowsOf('workspaces', 'id'), ...tables.map(({ name }) => rowsOf(name, 'workspace_id'))]),
  );
}
