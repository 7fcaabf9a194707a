import { randomBytes, randomInt } from 'node:crypto';
import { eventually } from '@answerline/testing';
import { type ClusterAddresses } from '../cluster.ts';
import { catalogueOf } from './catalogue.ts';
import { call } from './http.ts';

/** A workspace with one chatbot, its knowledge and one WhatsApp number. */
export interface Shop {
  readonly shop: number;
  readonly phoneNumberId: string;
  readonly wabaId: string;
  readonly displayPhoneNumber: string;
}

/** How long a chatbot waits for more; the largest disorder of deliveries is half of `quietMs`. */
export interface QuietWindow {
  readonly quietMs: number;
  readonly quietMaxMs: number;
}

/** Makes `count` shops by the management API, as their owners would, and tells the sandbox about their numbers. */
export async function openShops(at: ClusterAddresses, count: number, quiet: QuietWindow): Promise<Shop[]> {
  return Promise.all(Array.from({ length: count }, (_, index) => openShop(at, index + 1, quiet)));
}

async function openShop(at: ClusterAddresses, shop: number, quiet: QuietWindow): Promise<Shop> {
  const api = `${at.gatewayUrl}/api/v1`;
  const name = `Shop ${String(shop)}`;
  const { apiKey: key } = await call<{ apiKey: string }>('POST', `${api}/workspaces`, {
    body: { name, plan: 'enterprise' },
    key: at.operatorKey,
  });
  const chatbot = await call<{ id: string }>('POST', `${api}/chatbots`, { body: { name, ...quiet }, key });
  const source = await call<{ id: string }>('POST', `${api}/chatbots/${chatbot.id}/sources`, {
    body: { title: 'Catalogue', type: 'markdown', text: catalogueOf(shop) },
    key,
  });
  await eventually(
    async () => (await call<{ state: string }>('GET', `${api}/sources/${source.id}`, { key })).state === 'ready',
    { what: 'the catalogue is indexed', timeoutMs: 30_000 },
  );
  const meta = {
    appId: digits(),
    wabaId: digits(),
    phoneNumberId: digits(),
    accessToken: `EAA${randomBytes(24).toString('hex')}`,
    appSecret: randomBytes(16).toString('hex'),
  };
  const displayPhoneNumber = `+1 555-010-02${String(shop).padStart(2, '0')}`;
  const { phoneNumberId, ...settings } = meta;
  await call('PUT', `${at.sandboxUrl}/sandbox/numbers/${phoneNumberId}`, {
    body: { ...settings, displayPhoneNumber, verifiedName: name },
  });
  // Meta is told of the callback by this.
  await call('PUT', `${api}/chatbots/${chatbot.id}/channels/whatsapp`, { body: meta, key });
  return { shop, phoneNumberId, wabaId: meta.wabaId, displayPhoneNumber };
}

const digits = (): string => String(randomInt(10 ** 14, 2 ** 47));
