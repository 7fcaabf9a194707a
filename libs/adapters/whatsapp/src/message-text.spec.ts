import { describe, expect, it } from '@jest/globals';
import { mediaFacts } from './media-facts.ts';
import { payloadText } from './message-text.ts';
import { parsePayload } from './parse-payload.ts';

const textOf = (type: string, body: unknown): string | undefined => payloadText(parsePayload({ type, [type]: body }));
const interactive = (type: string, reply: unknown) => textOf('interactive', { type, [type]: reply });
const flow = (answers: object) => interactive('nfm_reply', { name: 'flow', response_json: JSON.stringify(answers) });

describe('what a turn reads of a message', () => {
  it.each([
    ['text', 'text', { body: 'When do you open?' }, 'When do you open?'],
    ['a caption', 'image', { id: 'm1', caption: 'Do you have this in blue?' }, 'Do you have this in blue?'],
    ['the caption of a document', 'document', { id: 'm1', filename: 'a.pdf', caption: 'My order' }, 'My order'],
    ['a picture without words', 'image', { id: 'm1' }, undefined],
    ['a caption of white space', 'video', { id: 'm1', caption: ' \n' }, undefined],
    ['a voice message', 'audio', { id: 'm1', voice: true }, undefined],
    ['a sticker', 'sticker', { id: 'm1' }, undefined],
    ['a template button', 'button', { text: 'Yes', payload: 'confirm-7' }, 'Yes'],
    ['a template button without text', 'button', { payload: 'confirm-7' }, 'confirm-7'],
    [
      'a place',
      'location',
      { latitude: 40.4, longitude: -3.7, name: 'Market hall', address: 'High Street 1' },
      'Location: Market hall, High Street 1 (40.4, -3.7)',
    ],
    ['a point', 'location', { latitude: '40.4', longitude: -3.7 }, 'Location: (40.4, -3.7)'],
    ['a place that is nowhere', 'location', {}, undefined],
    [
      'an order',
      'order',
      {
        catalog_id: '1',
        text: 'Sliced, please',
        product_items: [
          { product_retailer_id: 'rye-1', quantity: '2', item_price: 4.2, currency: 'EUR' },
          { product_retailer_id: 'bun', quantity: 6 },
        ],
      },
      'Order: 2 x rye-1 at 4.2 EUR, 6 x bun\nSliced, please',
    ],
    ['an order of nothing', 'order', { product_items: [] }, undefined],
  ])('%s', (_what, type, body, words) => {
    expect(textOf(type, body)).toBe(words);
  });

  it('a tapped button is its title', () => {
    expect(interactive('button_reply', { id: 'b1', title: 'Opening hours' })).toBe('Opening hours');
    expect(interactive('button_reply', { id: 'b1' })).toBe('b1');
  });

  it('a choice of a list says what was chosen, with what stood under it', () => {
    expect(interactive('list_reply', { id: 'r1', title: 'Rye', description: 'dark crust' })).toBe('Rye (dark crust)');
    expect(interactive('list_reply', { id: 'r1', title: 'Rye' })).toBe('Rye');
    expect(interactive('list_reply', {})).toBeUndefined();
  });

  it('the answers of a flow are lines, without Meta’s token and what is no word of the contact', () => {
    expect(
      flow({ flow_token: 'secret', pickup_day: 'Friday', extras: ['jam', 'butter'], sliced: true, photo: { id: 1 } }),
    ).toBe('pickup day: Friday\nextras: jam, butter\nsliced: true');
  });

  it('fields and choices that the flow builder numbered are read without the numbers', () => {
    expect(flow({ screen_0_Your_order_1: ['0_Rye_bread', '2_Buns'], screen_1_Name_of_the_street_0: '12_Elm' })).toBe(
      'Your order: Rye bread, Buns\nName of the street: Elm',
    );
    expect(flow({ pickup_2: '2_boxes' })).toBe('pickup 2: 2_boxes');
  });

  it('a flow without readable answers is what Meta shows of it', () => {
    expect(interactive('nfm_reply', { body: 'Sent', response_json: '{"flow_token":"x"}' })).toBe('Sent');
    expect(interactive('nfm_reply', { body: 'Sent', response_json: 'no json' })).toBe('Sent');
    expect(interactive('call_permission_reply', { response: 'accept' })).toBeUndefined();
  });

  it('contact cards are counted: names and numbers of others are not for the model', () => {
    const cards = [
      { name: { formatted_name: 'Customer B' }, phones: [{ phone: '+15550100102' }], org: { company: 'Corner shop' } },
      { name: { formatted_name: 'Customer C' } },
    ];
    const words = payloadText(parsePayload({ type: 'contacts', contacts: cards }));
    expect(words).toBe('Shared 2 contact cards (Corner shop)');
  });
});

describe('what is known of a file', () => {
  it('is type, name, size and caption, where Meta gives them', () => {
    const document = {
      id: 'm1',
      mime_type: 'application/pdf',
      filename: 'order.pdf',
      file_size: '2048',
      caption: 'Mine',
    };
    expect(mediaFacts({ type: 'document', document })).toEqual({
      mimeType: 'application/pdf',
      fileName: 'order.pdf',
      sizeBytes: 2048,
      caption: 'Mine',
    });
    const nothing = { mimeType: null, fileName: null, sizeBytes: null, caption: null };
    expect(mediaFacts({ type: 'image', image: { file_size: -1 } })).toEqual(nothing);
    expect(mediaFacts({ type: 'audio' })).toEqual(nothing);
  });

  it.each([null, 'image', [], {}, { type: 'text', text: { body: 'hello' } }])('is nothing of %j', (message) => {
    expect(mediaFacts(message)).toBeUndefined();
  });
});
