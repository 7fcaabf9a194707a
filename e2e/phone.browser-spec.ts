import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { eventually, tempDir } from '@answerline/testing';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { chromium, type BrowserContext, type Locator, type Page } from 'playwright-core';
import { callApi, root, startStandalone, type StandaloneProcess, type DemoFile } from './running-standalone.ts';

const flags =
  '--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking ' +
  '--disable-component-update --disable-sync';
const wide = { width: 1280, height: 800 };
const narrow = { width: 390, height: 844 };
const pictures = join(root, 'test-output');
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
declare function getComputedStyle(element: unknown): { readonly stroke: string; readonly outlineStyle: string };
declare const document: { readonly activeElement: unknown; readonly documentElement: { readonly scrollWidth: number } };
interface PageElement {
  readonly textContent: string | null;
  getAttribute(name: string): string | null;
  querySelector(selector: string): PageElement | null;
}

describe('the phone in the browser', () => {
  const codeWord = `crumb-${randomBytes(4).toString('hex')}`;
  const codeQuestion = 'What is the code word of the winter market stall?';
  let standalone: StandaloneProcess;
  let demo: DemoFile;
  let browser: BrowserContext;
  let page: Page;
  /** What no page may do: complain, or ask another host for something. */
  const troubles: string[] = [];

  beforeAll(async () => {
    mkdirSync(pictures, { recursive: true });
    const started = await startStandalone();
    standalone = started;
    demo = started.demo;
    browser = await chromium.launchPersistentContext(await tempDir(), {
      executablePath: process.env.CHROMIUM_PATH ?? '/usr/bin/chromium',
      args: flags.split(' '),
      viewport: wide,
      locale: 'en-GB',
    });
    browser.setDefaultTimeout(20_000);
    page = browser.pages()[0] ?? (await browser.newPage());
    const own = [demo.sandboxUrl, demo.baseUrl].map((url) => new URL(url).host);
    page.on('console', (message) => {
      if (message.type() === 'error' || message.type() === 'warning') troubles.push(message.text());
    });
    page.on('pageerror', (error) => troubles.push(error.message));
    page.on('request', (request) => {
      const url = new URL(request.url());
      if (url.protocol !== 'data:' && !own.includes(url.host)) troubles.push(`request to ${url.host}`);
    });
    page.on('response', (response) => {
      if (response.status() >= 400) troubles.push(`${response.status()} ${new URL(response.url()).pathname}`);
    });
    page.on('requestfailed', (request) => {
      // A reload closes the open stream.
      if (!request.url().includes('/sandbox/stream')) troubles.push(`failed: ${new URL(request.url()).pathname}`);
    });

    const { id } = await callApi<{ id: string }>(demo, 'POST', `/chatbots/${demo.chatbotId}/sources`, {
      type: 'text',
      title: 'Winter market',
      text: `The code word of our stall at the winter market is ${codeWord}.`,
    });
    await eventually(async () => (await callApi<{ state: string }>(demo, 'GET', `/sources/${id}`)).state === 'ready', {
      what: 'the new source is indexed',
      timeoutMs: 20_000,
    });
  }, 120_000);

  afterAll(async () => {
    await browser?.close();
    await standalone?.stop();
  }, 60_000);

  const open = async (contact: string) => {
    await page.goto(`${demo.sandboxUrl}/?contact=${contact}`);
    await page.getByTestId('chip').first().waitFor();
  };
  const picture = (name: string) => page.screenshot({ path: join(pictures, `${name}.png`) });
  const bubbles = () => page.getByTestId('message');
  const withId = (id: string) => page.locator(`[data-message-id="${id}"]`);
  /** The reply that quotes a message. */
  const replyTo = (id: string) => bubbles().filter({ has: page.locator(`[data-quoted-id="${id}"]`) });

  /** The contact's newest message, once it stands in the chat with this text. */
  async function written(text: string): Promise<{ id: string; bubble: Locator }> {
    const bubble = page.locator('[data-direction="inbound"]').filter({ hasText: text }).last();
    await bubble.waitFor();
    const id = (await bubble.getAttribute('data-message-id')) ?? '';
    return { id, bubble: withId(id) };
  }

  async function write(text: string) {
    await page.getByTestId('composer').fill(text);
    await page.getByTestId('send').click();
    return await written(text);
  }

  /** A question in the composer gets the code word, with its quote and two blue ticks on the question. */
  async function expectCodeWord() {
    const { id, bubble } = await write(codeQuestion);
    const reply = replyTo(id);
    await reply.waitFor();
    expect(await reply.getAttribute('data-direction')).toBe('outbound');
    expect(await reply.locator('.text').innerText()).toContain(codeWord);
    expect(await reply.getByTestId('quote').innerText()).toContain(codeQuestion);

    await page.locator(`[data-message-id="${id}"][data-ticks="read"]`).waitFor();
    const ticks = bubble.locator('.ticks');
    expect(await ticks.locator('path').count()).toBe(2);
    expect(await ticks.innerText()).toContain('Read');
    expect(await strokeOf(ticks.locator('svg'))).toBe(await strokeOf(page.locator('#legend .ticks.read svg')));
    expect(await strokeOf(ticks.locator('svg'))).not.toBe(await strokeOf(page.locator('#legend .ticks.delivered svg')));
  }

  const strokeOf = (svg: Locator) => svg.evaluate((element) => getComputedStyle(element).stroke);

  async function expectAbstain() {
    const { id } = await write('Do you repair violins?');
    await replyTo(id).waitFor();
    expect(await replyTo(id).locator('.text').innerText()).toContain(abstained);
  }

  /** What stands in the chat: ids, sides, ticks, words and quotes of all bubbles. */
  const chat = () =>
    bubbles().evaluateAll((all) =>
      (all as unknown as PageElement[]).map((bubble) => ({
        id: bubble.getAttribute('data-message-id'),
        direction: bubble.getAttribute('data-direction'),
        ticks: bubble.getAttribute('data-ticks'),
        quoted: bubble.querySelector('[data-quoted-id]')?.getAttribute('data-quoted-id'),
        text: bubble.querySelector('.text')?.textContent,
      })),
    );

  async function expectReloadKeepsChat() {
    const before = await chat();
    await page.reload();
    await bubbles()
      .nth(before.length - 1)
      .waitFor();
    expect(await chat()).toEqual(before);
  }

  it('answers from a source that was added by API, quotes the question and ticks it blue', async () => {
    await open('customer-a');
    await page.getByText('Write a message, or try one of these:').waitFor();
    await picture('phone-wide-empty');
    await expectCodeWord();
  });

  it('says so when the answer is not in the knowledge base', expectAbstain);

  it('keeps the chat over a reload', async () => {
    expect((await chat()).map(({ direction }) => direction)).toEqual(['inbound', 'outbound', 'inbound', 'outbound']);
    await page.locator('[data-ticks="read"]').nth(1).waitFor();
    await expectReloadKeepsChat();
    await picture('phone-wide-chat');
  });

  it('does the same on a screen of 390 px', async () => {
    await page.setViewportSize(narrow);
    await open('customer-b');
    await page.getByText('Write a message, or try one of these:').waitFor();
    await picture('phone-390-empty');
    await expectCodeWord();
    await expectAbstain();
    await page.locator('[data-ticks="read"]').nth(1).waitFor();
    await expectReloadKeepsChat();
    await picture('phone-390-chat');
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(narrow.width);
    const { x, width } = (await page.getByTestId('send').boundingBox()) ?? { x: 0, width: Infinity };
    expect(x + width).toBeLessThanOrEqual(narrow.width);
  });

  it('changes to another contact and back, on the small screen too', async () => {
    await page.getByRole('button', { name: 'Choose another phone' }).click();
    await picture('phone-390-people');
    await page.locator('[data-contact-id="customer-a"]').click();
    await bubbles().nth(3).waitFor();
    expect((await chat())[1]?.text).toContain(codeWord);
    await page.setViewportSize(wide);
    await page.locator('[data-contact-id="customer-c"]').click();
    await page.getByText('Write a message, or try one of these:').waitFor();
    expect(await bubbles().count()).toBe(0);
    await page.locator('[data-contact-id="customer-b"]').click();
    await bubbles().nth(3).waitFor();
    expect(new URL(page.url()).searchParams.get('contact')).toBe('customer-b');
  });

  it('asks the question of a chip', async () => {
    await open('customer-c');
    await page.getByRole('button', { name: 'Opening hours' }).click();
    const { id } = await written(chip('Opening hours'));
    await replyTo(id).waitFor();
    expect(await replyTo(id).innerText()).toContain('Saturday and Sunday from 8:00 to 14:00');
  });

  it('confirms the handoff and is silent from then on', async () => {
    await page.getByRole('button', { name: 'Ask for a human' }).click();
    const { id } = await written(chip('Ask for a human'));
    await replyTo(id).waitFor();
    expect(await replyTo(id).innerText()).toContain('Connecting you to a human agent');
    await write(codeQuestion);

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
    const silent = await chat();
    await page.locator('[data-contact-id="customer-d"]').click();
    await expectCodeWord();
    await page.locator('[data-contact-id="customer-c"]').click();
    await bubbles()
      .nth(silent.length - 1)
      .waitFor();
    expect((await chat()).map(({ id: shown }) => shown)).toEqual(silent.map(({ id: shown }) => shown));
    expect(silent.at(-1)).toMatchObject({ direction: 'inbound', text: codeQuestion });
  });

  it('can be used with the keyboard alone', async () => {
    await open('customer-a');
    /** Goes on with Tab until `wanted` has the focus, and shows that its focus can be seen. */
    const tabTo = async (wanted: Locator) => {
      const isFocused = () => wanted.evaluate((element) => element === document.activeElement);
      for (let presses = 0; presses < 40 && !(await isFocused()); presses += 1) await page.keyboard.press('Tab');
      expect(await isFocused()).toBe(true);
      expect(await wanted.evaluate((element) => getComputedStyle(element).outlineStyle)).toBe('solid');
    };
    await tabTo(page.locator('[data-contact-id="customer-e"]'));
    await page.keyboard.press('Enter');
    await page.getByText('Customer E’s phone').waitFor();
    await page.keyboard.type('When are you open on Sunday?');
    await page.keyboard.press('Shift+Enter');
    await page.keyboard.type('And on Monday?');
    await page.keyboard.press('Enter');
    const first = await written('And on Monday?');
    await replyTo(first.id).waitFor();
    expect(await page.getByTestId('composer').inputValue()).toBe('');

    await tabTo(page.getByRole('button', { name: 'A number only we know' }));
    await page.keyboard.press('Enter');
    const second = await written(chip('A number only we know'));
    await replyTo(second.id).waitFor();
    expect(await replyTo(second.id).innerText()).toContain('WL-7319');

    await tabTo(replyTo(second.id).getByTestId('quote'));
    await page.keyboard.press('Enter');
    await page.locator(`.found[data-message-id="${second.id}"]`).waitFor();
  });

  it('serves a page to try the API', async () => {
    await page.goto(`${demo.baseUrl}/api/docs`);
    expect(await page.title()).toBe('Answerline API');
    await page.getByRole('button', { name: 'Authorize' }).click();
    await page.getByLabel('auth-bearer-value').fill(demo.apiKey);
    await page.getByRole('button', { name: 'Apply credentials' }).click();
    await page.getByRole('button', { name: 'Close' }).click();
    await picture('api-docs');
    await page.locator('#operations-Chatbots-ChatbotsController_list .opblock-summary-control').click();
    await page.getByRole('button', { name: 'Execute' }).click();
    await page.locator('.live-responses-table').getByText('Wren Lane Bakery').first().waitFor();
    await picture('api-docs-tried');
  });

  it('did all this without an error in the console and without another host', () => {
    expect(troubles).toEqual([]);
  });
});
