import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { eventually } from '@answerline/testing';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type Locator } from 'playwright-core';
import { callApi, root, startStandalone, type StandaloneProcess, type DemoFile } from '../running-standalone.ts';
import { narrow, openPhonePage, wide, type PhonePage } from './phone-page.ts';

const bakery = JSON.parse(readFileSync(join(root, 'apps/standalone/demo/bakery.json'), 'utf8')) as {
  chips: { label: string; text: string }[];
};
const chip = (label: string) => bakery.chips.find((one) => one.label === label)?.text ?? '';
const abstained = 'Sorry, I could not find that in the information I have.';

interface ApiMessage {
  readonly id: string;
  readonly direction: 'inbound' | 'outbound';
  readonly text: string | null;
  readonly turnId: string | null;
  readonly kind: string | null;
}
interface ApiConversation {
  readonly id: string;
  readonly owner: string;
  readonly waiting: number;
}

// What runs inside the page; the project is compiled without the types of the DOM.
declare function getComputedStyle(element: unknown): { readonly outlineStyle: string };
declare const document: { readonly activeElement: unknown; readonly documentElement: { readonly scrollWidth: number } };

/**
 * The story of the phone in the browser, with everything a customer does, told by a running product with these settings.
 *
 * @param settings laid over those of `npm start`; asked for when the story begins
 */
export function describePhoneStory(name: string, settings: () => Readonly<Record<string, string>>): void {
  describe(name, () => {
    const codeWord = `crumb-${randomBytes(4).toString('hex')}`;
    const codeQuestion = 'What is the code word of the winter market stall?';
    let standalone: StandaloneProcess;
    let demo: DemoFile;
    let phone: PhonePage;

    beforeAll(async () => {
      const started = await startStandalone({ env: settings() });
      standalone = started;
      demo = started.demo;
      phone = await openPhonePage(demo);
      const { id } = await callApi<{ id: string }>(demo, 'POST', `/chatbots/${demo.chatbotId}/sources`, {
        type: 'text',
        title: 'Winter market',
        text: `The code word of our stall at the winter market is ${codeWord}.`,
      });
      await eventually(
        async () => (await callApi<{ state: string }>(demo, 'GET', `/sources/${id}`)).state === 'ready',
        {
          what: 'the new source is indexed',
          timeoutMs: 20_000,
        },
      );
    }, 120_000);

    afterAll(async () => {
      await phone?.close();
      await standalone?.stop();
    }, 60_000);

    /** A question in the composer gets the code word, with its quote and two blue ticks on the question. */
    async function expectCodeWord() {
      const { id, bubble } = await phone.write(codeQuestion);
      const reply = phone.replyTo(id);
      await reply.waitFor();
      expect(await reply.getAttribute('data-direction')).toBe('outbound');
      expect(await reply.locator('.text').innerText()).toContain(codeWord);
      expect(await reply.getByTestId('quote').innerText()).toContain(codeQuestion);

      await phone.page.locator(`[data-message-id="${id}"][data-ticks="read"]`).waitFor();
      const ticks = bubble.locator('.ticks');
      expect(await ticks.locator('path').count()).toBe(2);
      expect(await ticks.innerText()).toContain('Read');
      expect(await phone.strokeOf(ticks.locator('svg'))).toBe(
        await phone.strokeOf(phone.page.locator('#legend .ticks.read svg')),
      );
      expect(await phone.strokeOf(ticks.locator('svg'))).not.toBe(
        await phone.strokeOf(phone.page.locator('#legend .ticks.delivered svg')),
      );
    }

    async function expectAbstain() {
      const { id } = await phone.write('Do you repair violins?');
      await phone.replyTo(id).waitFor();
      expect(await phone.replyTo(id).locator('.text').innerText()).toContain(abstained);
    }

    async function expectReloadKeepsChat() {
      const before = await phone.chat();
      await phone.page.reload();
      await phone
        .bubbles()
        .nth(before.length - 1)
        .waitFor();
      expect(await phone.chat()).toEqual(before);
    }

    it('answers from a source that was added by API, quotes the question and ticks it blue', async () => {
      await phone.open('customer-a');
      await phone.page.getByText('Write a message, or try one of these:').waitFor();
      await phone.picture('phone-wide-empty');
      await expectCodeWord();
    });

    it('says so when the answer is not in the knowledge base', expectAbstain);

    it('keeps the chat over a reload', async () => {
      expect((await phone.chat()).map(({ direction }) => direction)).toEqual([
        'inbound',
        'outbound',
        'inbound',
        'outbound',
      ]);
      await phone.page.locator('[data-ticks="read"]').nth(1).waitFor();
      await expectReloadKeepsChat();
      await phone.picture('phone-wide-chat');
    });

    it('does the same on a screen of 390 px', async () => {
      await phone.page.setViewportSize(narrow);
      await phone.open('customer-b');
      await phone.page.getByText('Write a message, or try one of these:').waitFor();
      await phone.picture('phone-390-empty');
      await expectCodeWord();
      await expectAbstain();
      await phone.page.locator('[data-ticks="read"]').nth(1).waitFor();
      await expectReloadKeepsChat();
      await phone.picture('phone-390-chat');
      expect(await phone.page.evaluate(() => document.documentElement.scrollWidth)).toBe(narrow.width);
      const { x, width } = (await phone.page.getByTestId('send').boundingBox()) ?? { x: 0, width: Infinity };
      expect(x + width).toBeLessThanOrEqual(narrow.width);
    });

    it('changes to another contact and back, on the small screen too', async () => {
      await phone.page.getByRole('button', { name: 'Choose another phone' }).click();
      await phone.picture('phone-390-people');
      await phone.page.locator('[data-contact-id="customer-a"]').click();
      await phone.bubbles().nth(3).waitFor();
      expect((await phone.chat())[1]?.text).toContain(codeWord);
      await phone.page.setViewportSize(wide);
      await phone.page.locator('[data-contact-id="customer-c"]').click();
      await phone.page.getByText('Write a message, or try one of these:').waitFor();
      expect(await phone.bubbles().count()).toBe(0);
      await phone.page.locator('[data-contact-id="customer-b"]').click();
      await phone.bubbles().nth(3).waitFor();
      expect(new URL(phone.page.url()).searchParams.get('contact')).toBe('customer-b');
    });

    it('asks the question of a chip', async () => {
      await phone.open('customer-c');
      await phone.page.getByRole('button', { name: 'Opening hours' }).click();
      const { id } = await phone.written(chip('Opening hours'));
      await phone.replyTo(id).waitFor();
      expect(await phone.replyTo(id).innerText()).toContain('Saturday and Sunday from 8:00 to 14:00');
    });

    it('confirms the handoff and is silent from then on', async () => {
      await phone.page.getByRole('button', { name: 'Ask for a human' }).click();
      const { id } = await phone.written(chip('Ask for a human'));
      await phone.replyTo(id).waitFor();
      expect(await phone.replyTo(id).innerText()).toContain('Connecting you to a human agent');
      await phone.write(codeQuestion);

      // Stored in a conversation that a human holds, with nothing left to answer: silent for good.
      const held = await eventually(
        async () => {
          const { items } = await callApi<{ items: ApiConversation[] }>(demo, 'GET', '/conversations');
          const conversation = items.find(({ owner }) => owner === 'human');
          if (!conversation) return false;
          const path = `/conversations/${conversation.id}/messages`;
          const messages = (await callApi<{ items: ApiMessage[] }>(demo, 'GET', path)).items;
          return messages.some(({ text }) => text === codeQuestion) && { conversation, messages };
        },
        { what: 'the message to the human is stored', timeoutMs: 15_000 },
      );
      expect(held.conversation.waiting).toBe(0);
      expect(held.messages.find(({ text }) => text === codeQuestion)).toMatchObject({
        direction: 'inbound',
        turnId: null,
      });
      expect(held.messages.flatMap(({ kind }) => kind ?? [])).toEqual(['handoff_confirmation', 'answer']);

      // Somebody who asked later has the answer by now.
      const silent = await phone.chat();
      await phone.page.locator('[data-contact-id="customer-d"]').click();
      await expectCodeWord();
      await phone.page.locator('[data-contact-id="customer-c"]').click();
      await phone
        .bubbles()
        .nth(silent.length - 1)
        .waitFor();
      expect((await phone.chat()).map(({ id: shown }) => shown)).toEqual(silent.map(({ id: shown }) => shown));
      expect(silent.at(-1)).toMatchObject({ direction: 'inbound', text: codeQuestion });
    });

    it('can be used with the keyboard alone', async () => {
      await phone.open('customer-a');
      /** Goes on with Tab until `wanted` has the focus, and shows that its focus can be seen. */
      const tabTo = async (wanted: Locator) => {
        const isFocused = () => wanted.evaluate((element) => element === document.activeElement);
        for (let presses = 0; presses < 40 && !(await isFocused()); presses += 1)
          await phone.page.keyboard.press('Tab');
        expect(await isFocused()).toBe(true);
        expect(await wanted.evaluate((element) => getComputedStyle(element).outlineStyle)).toBe('solid');
      };
      await tabTo(phone.page.locator('[data-contact-id="customer-e"]'));
      await phone.page.keyboard.press('Enter');
      await phone.page.getByText('Customer E’s phone').waitFor();
      await phone.page.keyboard.type('When are you open on Sunday?');
      await phone.page.keyboard.press('Shift+Enter');
      await phone.page.keyboard.type('And on Monday?');
      await phone.page.keyboard.press('Enter');
      const first = await phone.written('And on Monday?');
      await phone.replyTo(first.id).waitFor();
      expect(await phone.page.getByTestId('composer').inputValue()).toBe('');

      await tabTo(phone.page.getByRole('button', { name: 'A number only we know' }));
      await phone.page.keyboard.press('Enter');
      const second = await phone.written(chip('A number only we know'));
      await phone.replyTo(second.id).waitFor();
      expect(await phone.replyTo(second.id).innerText()).toContain('WL-7319');

      await tabTo(phone.replyTo(second.id).getByTestId('quote'));
      await phone.page.keyboard.press('Enter');
      await phone.page.locator(`.found[data-message-id="${second.id}"]`).waitFor();
    });

    it('serves a page to try the API', async () => {
      await phone.page.goto(`${demo.baseUrl}/api/docs`);
      expect(await phone.page.title()).toBe('Answerline API');
      await phone.page.getByRole('button', { name: 'Authorize' }).click();
      await phone.page.getByLabel('auth-bearer-value').fill(demo.apiKey);
      await phone.page.getByRole('button', { name: 'Apply credentials' }).click();
      await phone.page.getByRole('button', { name: 'Close', exact: true }).click();
      await phone.picture('api-docs');
      await phone.page.locator('#operations-Chatbots-ChatbotsController_list .opblock-summary-control').click();
      await phone.page.getByRole('button', { name: 'Execute' }).click();
      await phone.page.locator('.live-responses-table').getByText('Wren Lane Bakery').first().waitFor();
      await phone.picture('api-docs-tried');
    });

    it('did all this without an error in the console and without another host', () => {
      expect(phone.troubles).toEqual([]);
    });
  });
}
