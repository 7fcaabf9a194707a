/** A call to the product or the sandbox. Throws for anything but 2xx, with the status and the start of the answer. */
export async function call<Answer = unknown>(
  method: 'GET' | 'POST' | 'PUT' | 'DELETE',
  url: string,
  options: { readonly body?: unknown; readonly key?: string } = {},
): Promise<Answer> {
  const response = await fetch(url, {
    method,
    headers: {
      ...(options.body === undefined ? {} : { 'content-type': 'application/json' }),
      ...(options.key === undefined ? {} : { authorization: `Bearer ${options.key}` }),
    },
    ...(options.body === undefined ? {} : { body: JSON.stringify(options.body) }),
    signal: AbortSignal.timeout(20_000),
  });
  const text = await response.text();
  if (!response.ok)
    throw new Error(`${method} ${new URL(url).pathname}: ${String(response.status)} ${text.slice(0, 300)}`);
  return (text === '' ? undefined : JSON.parse(text)) as Answer;
}
