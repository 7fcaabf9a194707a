/** A day long past: what is older than 24 hours is stored and shown, and nobody is answered. */
const sentAt = 1_767_225_600;

/** Meta: up to 1,000 updates and 3 MB in one body. */
const maxUpdates = 1_000;
const bigBodyBytes = 2_900_000;
/** The longest text of a message. */
const textLength = 4_096;

/** Bodies that no collection of examples has, for the demo's number. They are the same each time. */
export function oddities(phoneNumberId: string): { name: string; body: unknown }[] {
  let count = 0;
  const metadata = { display_phone_number: '15550100199', phone_number_id: phoneNumberId };
  const contact = (n: number) => ({ profile: { name: `Customer ${n}` }, wa_id: `1555010${1000 + n}` });
  const message = (more: object = {}, n = 0) => {
    count += 1;
    return {
      from: contact(n).wa_id,
      id: `wamid.oddity.${count}`,
      timestamp: String(sentAt + count),
      type: 'text',
      text: { body: `Oddity ${count}` },
      ...more,
    };
  };
  const status = (state: string) => {
    count += 1;
    return {
      id: `wamid.oddity.sent.${count}`,
      status: state,
      timestamp: String(sentAt + count),
      recipient_id: contact(0).wa_id,
    };
  };
  const change = (news: object, field = 'messages') => ({
    field,
    value: { messaging_product: 'whatsapp', metadata, contacts: [contact(0)], ...news },
  });
  const body = (...changes: object[]) => ({
    object: 'whatsapp_business_account',
    entry: [{ id: '102290129340398', changes }],
  });
  const { type: _type, ...withoutType } = message();
  const { id: _id, ...withoutId } = message();

  return [
    {
      name: 'several entries',
      body: {
        object: 'whatsapp_business_account',
        entry: [
          {
            id: '1',
            changes: [change({ messages: [message(), message({}, 1)] }), change({ statuses: [status('read')] })],
          },
          { id: '2', changes: [change({ messages: [message()] })] },
          { id: '3', changes: [] },
          { id: '4' },
        ],
      },
    },
    { name: 'empty entry', body: { object: 'whatsapp_business_account', entry: [] } },
    { name: 'no entry', body: {} },
    { name: 'a list instead of an object', body: [] },
    { name: 'message without type', body: body(change({ messages: [withoutType] })) },
    { name: 'message without id', body: body(change({ messages: [withoutId] })) },
    { name: 'integer timestamp', body: body(change({ messages: [message({ timestamp: sentAt })] })) },
    { name: 'unknown field', body: body(change({ something: { new: [1, 2, 3] } }, 'a_field_of_tomorrow')) },
    {
      name: 'unknown type and keys',
      body: body(change({ messages: [message({ type: 'hologram', hologram: { layers: 3 }, mood: null })] })),
    },
    {
      name: '1,000 updates',
      body: body(
        change({ messages: Array.from({ length: maxUpdates * 0.6 }, (_, n) => message({}, n % 50)) }),
        change({ statuses: Array.from({ length: maxUpdates * 0.4 }, () => status('delivered')) }),
      ),
    },
    {
      name: '2.9 MB',
      body: body(
        change({
          messages: Array.from({ length: Math.ceil(bigBodyBytes / textLength) }, (_, n) =>
            message({ text: { body: 'bread and cakes '.repeat(textLength / 16) } }, n % 50),
          ),
        }),
      ),
    },
  ];
}
