import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { tempDir } from '@answerline/testing';
import { chromium, type Locator, type Page } from 'playwright-core';
import { root, type DemoFile } from '../running-standalone.ts';

const flags =
  '--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking ' +
  '--disable-component-update --disable-sync';
const pictures = join(root, 'test-output');

export const wide = { width: 1280, height: 800 };
export const narrow = { width: 390, height: 844 };

// What runs inside the page; the project is compiled without the types of the DOM.
declare function getComputedStyle(element: unknown): { readonly stroke: string };
interface PageElement {
  readonly textContent: string | null;
  getAttribute(name: string): string | null;
  querySelector(selector: string): PageElement | null;
}

/** The sandbox's phone in Chromium, for the demo of a running product. */
export interface PhonePage {
  readonly page: Page;
  /** What no page may do: complain, or ask another host for something. */
  readonly troubles: readonly string[];
  /** Shows a contact's phone. */
  open(contact: string): Promise<void>;
  /** Keeps a picture in test-output. */
  picture(name: string): Promise<unknown>;
  bubbles(): Locator;
  /** The reply that quotes a message. */
  replyTo(id: string): Locator;
  /** The contact's newest message, once it stands in the chat with this text. */
  written(text: string): Promise<{ id: string; bubble: Locator }>;
  /** Writes a text in the composer and sends it. */
  write(text: string): Promise<{ id: string; bubble: Locator }>;
  /** Writes a question and resolves to the text of its reply, once that stands there. */
  ask(question: string): Promise<string>;
  /** What stands in the chat: ids, sides, ticks, words and quotes of all bubbles. */
  chat(): Promise<
    { id: string | null; direction: string | null; ticks: string | null; quoted: string | null; text: string }[]
  >;
  /** The colour that an icon is drawn in. */
  strokeOf(svg: Locator): Promise<string>;
  close(): Promise<void>;
}

/** Opens Chromium with a new profile. */
export async function openPhonePage(demo: Pick<DemoFile, 'sandboxUrl' | 'baseUrl'>): Promise<PhonePage> {
  mkdirSync(pictures, { recursive: true });
  const browser = await chromium.launchPersistentContext(await tempDir(), {
    executablePath: process.env.CHROMIUM_PATH ?? '/usr/bin/chromium',
    args: flags.split(' '),
    viewport: wide,
    locale: 'en-GB',
  });
  browser.setDefaultTimeout(20_000);
  const page = browser.pages()[0] ?? (await browser.newPage());
  const troubles: string[] = [];
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

  const bubbles = () => page.getByTestId('message');
  const replyTo = (id: string) => bubbles().filter({ has: page.locator(`[data-quoted-id="${id}"]`) });
  async function written(text: string): Promise<{ id: string; bubble: Locator }> {
    const bubble = page.locator('[data-direction="inbound"]').filter({ hasText: text }).last();
    await bubble.waitFor();
    const id = (await bubble.getAttribute('data-message-id')) ?? '';
    return { id, bubble: page.locator(`[data-message-id="${id}"]`) };
  }
  async function write(text: string) {
    await page.getByTestId('composer').fill(text);
    await page.getByTestId('send').click();
    return await written(text);
  }
  return {
    page,
    troubles,
    open: async (contact) => {
      await page.goto(`${demo.sandboxUrl}/?contact=${contact}`);
      await page.getByTestId('chip').first().waitFor();
    },
    picture: (name) => page.screenshot({ path: join(pictures, `${name}.png`) }),
    bubbles,
    replyTo,
    written,
    write,
    ask: async (question) => {
      const { id } = await write(question);
      await replyTo(id).waitFor({ timeout: 60_000 });
      return replyTo(id).locator('.text').innerText();
    },
    chat: () =>
      bubbles().evaluateAll((all) =>
        (all as unknown as PageElement[]).map((bubble) => ({
          id: bubble.getAttribute('data-message-id'),
          direction: bubble.getAttribute('data-direction'),
          ticks: bubble.getAttribute('data-ticks'),
          quoted: bubble.querySelector('[data-quoted-id]')?.getAttribute('data-quoted-id') ?? null,
          text: bubble.querySelector('.text')?.textContent ?? '',
        })),
      ),
    strokeOf: (svg) => svg.evaluate((element) => getComputedStyle(element).stroke),
    close: () => browser.close(),
  };
}
