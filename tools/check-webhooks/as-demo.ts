import { at, isObject } from './walk-body.ts';

/**
 * The body as if it had been sent to the demo's number: every `phone_number_id` is the demo's, and ids of messages, echoes and
 * statuses begin with the file's name, so that no file repeats another. What refers to a message of the same file still does.
 */
export function asDemo(body: unknown, fileName: string, phoneNumberId: string): unknown {
  const unique = (id: unknown) => (typeof id === 'string' ? `${fileName}:${id}` : id);

  function change(value: unknown, isElement: boolean): unknown {
    if (Array.isArray(value)) return value.map((item) => change(item, isElement));
    if (!isObject(value)) return value;
    return Object.fromEntries(
      Object.entries(value).map(([key, field]) => {
        if (key === 'phone_number_id') return [key, phoneNumberId];
        if (key === 'message_id' || key === 'original_message_id') return [key, unique(field)];
        if (key === 'id' && isElement) return [key, unique(field)];
        if (key === 'context' && at(field, 'id') !== undefined) {
          return [key, change({ ...(field as object), id: unique(at(field, 'id')) }, false)];
        }
        return [key, change(field, ['messages', 'message_echoes', 'statuses'].includes(key))];
      }),
    );
  }
  return change(body, false);
}
