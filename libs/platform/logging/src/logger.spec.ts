import { Unexpected, Transient } from '@answerline/errors';
import { describe, expect, it } from '@jest/globals';
import { withCorrelation, currentCorrelationId } from './correlation.ts';
import { createLogger } from './logger.ts';
import { nestLogger } from './nest-logger.ts';
import { prettyStream } from './pretty-stream.ts';

function loggerToArray(level: 'debug' | 'info' = 'info') {
  const lines: string[] = [];
  const logger = createLogger({ app: 'test', level, destination: { write: (line) => void lines.push(line) } });
  return { logger, lines, last: () => JSON.parse(lines.at(-1) ?? '{}') as Record<string, unknown> };
}

const planted = 'planted-4711';

describe('createLogger', () => {
  it('writes JSON with time, level, app, fields and message', () => {
    const { logger, last } = loggerToArray();
    logger.info({ count: 3, workspaceId: 'w1' }, 'Messages stored');
    expect(last()).toEqual({
      level: 'info',
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/),
      app: 'test',
      count: 3,
      workspaceId: 'w1',
      message: 'Messages stored',
    });
  });

  it('writes nothing below its level', () => {
    const { logger, lines } = loggerToArray();
    logger.debug('No');
    expect(lines).toEqual([]);
  });

  it.each([
    ['a token', { accessToken: planted }],
    ['another spelling', { 'ACCESS-token': planted, access_token: planted }],
    ['a header', { request: { headers: { authorization: planted } } }],
    ['a bare header', { 'X-Hub-Signature-256': planted }],
    ['a deep secret', { a: { b: { c: { appSecret: planted } } } }],
    ['deeper than anything', { a: { b: { c: { d: { e: { f: { g: planted } } } } } } }],
    ['in a list', { updates: [{ from: planted, text: { body: planted } }] }],
    ['a phone number', { contact: { wa_id: planted }, displayPhoneNumber: planted }],
    ['a phone number as a number', { to: 5491155556666 }],
    ['a name', { profile: { name: planted }, name: planted }],
    ['a text', { text: planted, caption: planted, question: planted, messages: [{ body: planted }] }],
    ['bytes', { rawBody: Buffer.from(planted), bytes: Buffer.from(planted) }],
    ['what its own toJSON shows', { row: { toJSON: () => ({ text: planted }) } }],
  ])('redacts %s', (_what, fields) => {
    const { logger, lines } = loggerToArray();
    logger.info(fields, 'Test');
    expect(lines[0]).not.toContain(planted);
    expect(lines[0]).not.toContain('5491155556666');
    expect(lines[0]).not.toContain(Buffer.from(planted).toString('base64'));
  });

  it('shows of bytes only how many', () => {
    const { logger, last } = loggerToArray();
    logger.info({ file: Buffer.from(planted), view: new Uint8Array(3) }, 'Test');
    expect(last()).toMatchObject({ file: '[12 bytes]', view: '[3 bytes]' });
  });

  it('keeps counts, durations and flags under any field', () => {
    const { logger, last } = loggerToArray();
    logger.info({ messages: 12, text: true, passages: null }, 'Test');
    expect(last()).toMatchObject({ messages: 12, text: true, passages: null });
  });

  it('redacts the bindings of a child', () => {
    const { logger, lines } = loggerToArray();
    const vendorError = Object.assign(new Error('No'), { config: { body: planted } });
    logger.child({ token: planted, phone: planted, err: vendorError, channelId: 'c1' }).info('Test');
    expect(lines[0]).not.toContain(planted);
    expect(lines[0]).toContain('"channelId":"c1"');
  });

  it('survives a value that contains itself', () => {
    const { logger, lines } = loggerToArray();
    const loop: Record<string, unknown> = { id: 1 };
    loop.self = loop;
    logger.info({ loop }, 'Test');
    expect(lines).toHaveLength(1);
  });
});

describe('an error in a log line', () => {
  it('shows kind, code, context, stack and causes', () => {
    const { logger, last } = loggerToArray();
    const cause = new Transient('graph_busy', 'Graph is busy.', { retryAfterMs: 500, cause: new Error('socket') });
    logger.error(
      { err: new Unexpected('send_failed', 'Sending failed.', { cause, context: { sendId: 's1' } }) },
      'Test',
    );
    expect(last().err).toMatchObject({
      type: 'Unexpected',
      kind: 'unexpected',
      code: 'send_failed',
      message: 'Sending failed.',
      context: { sendId: 's1' },
      stack: expect.stringContaining('logger.spec'),
      cause: { kind: 'transient', code: 'graph_busy', retryAfterMs: 500, cause: { message: 'socket' } },
    });
  });

  it('shows nothing else of an error that is not ours', () => {
    const { logger, lines, last } = loggerToArray();
    const vendorError = Object.assign(new Error('Request failed'), {
      code: 'EVENDOR',
      request: { body: planted },
      response: { headers: { authorization: planted } },
      parameters: [planted],
      detail: planted,
    });
    logger.error(vendorError, 'Test');
    expect(lines[0]).not.toContain(planted);
    expect(last().err).toEqual({
      type: 'Error',
      code: 'EVENDOR',
      message: 'Request failed',
      stack: expect.any(String),
    });
  });

  it.each([
    ['a phone number', 'Recipient +5491155556666 not allowed', '5491155556666'],
    ['a bearer token', `failed with Bearer ${planted}`, planted],
    ['a URL with a password', `connect postgres://user:${planted}@db/x`, planted],
    ['one of our API keys', 'al_Abcdefgh12345678 is revoked', 'Abcdefgh'],
    ["one of Meta's tokens", 'Malformed access token EAAGplanted4711xyz', 'EAAGplanted'],
    ['a token in a query', `GET /x?access_token=${planted}&y=1`, planted],
    ['the text that JSON.parse quotes', `Unexpected token 'h', "hi ${planted}" is not valid JSON`, planted],
    ['the value that Postgres quotes', `invalid input syntax for type uuid: "${planted}"`, planted],
  ])('hides %s in a message', (_what, message, secret) => {
    const { logger, lines } = loggerToArray();
    logger.error({ err: new Error(message) }, 'Test');
    expect(lines[0]).toContain('[redacted]');
    expect(lines[0]).not.toContain(secret);
  });

  it('leaves ids readable', () => {
    const { logger, lines } = loggerToArray();
    logger.error({ err: new Error('row 01934567-8901-7123-8456-123456789012 line 10:20') }, 'Test');
    expect(lines[0]).toContain('01934567-8901-7123-8456-123456789012 line 10:20');
  });

  it('ends loops of causes, and bounds lists of errors', () => {
    const { logger, lines, last } = loggerToArray();
    const loop = new Error('loop');
    loop.cause = loop;
    const many = new AggregateError(Array.from({ length: 100 }, () => loop));
    logger.error({ err: many }, 'Test');
    expect((last().err as { errors: unknown[] }).errors).toHaveLength(5);
    expect(lines[0]?.length).toBeLessThan(100_000);
  });

  it.each([['a string'], [undefined], [null], [{ token: planted }]])('takes %p that was thrown', (thrown) => {
    const { logger, lines } = loggerToArray();
    logger.error({ err: thrown }, 'Test');
    expect(lines).toHaveLength(1);
    expect(lines[0]).not.toContain(planted);
  });
});

describe('withCorrelation', () => {
  it('puts its id on every line made under it, also later and in children', async () => {
    const { logger, lines } = loggerToArray();
    await withCorrelation('c-1', async () => {
      await Promise.resolve();
      logger.child({ part: 1 }).info('Inside');
      withCorrelation('c-2', () => logger.info('Deeper'));
      expect(currentCorrelationId()).toBe('c-1');
    });
    logger.info('Outside');
    const ids = lines.map((line) => (JSON.parse(line) as { correlationId?: string }).correlationId);
    expect(ids).toEqual(['c-1', 'c-2', undefined]);
  });
});

describe('nestLogger', () => {
  it("takes Nest's lines with context, stack and error", () => {
    const { logger, lines } = loggerToArray('debug');
    const nest = nestLogger(logger);
    nest.log('Starting Nest application...', 'NestFactory');
    nest.error('boom for +5491155556666', 'Error: boom\n    at main.ts:1:1', 'ExceptionsHandler');
    nest.error(new Error('thrown'), 'Bootstrap');
    nest.warn({ text: planted });
    const read = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(read[0]).toMatchObject({ level: 'debug', context: 'NestFactory', said: 'Starting Nest application...' });
    expect(read[1]).toMatchObject({
      level: 'error',
      context: 'ExceptionsHandler',
      said: 'boom for [redacted]',
      err: { stack: expect.stringContaining('main.ts:1:1') },
    });
    expect(read[2]).toMatchObject({ level: 'error', context: 'Bootstrap', err: { message: 'thrown' } });
    expect(lines.join('')).not.toContain(planted);
  });
});

describe('pretty lines', () => {
  it('show time, level, app, message, fields and stacks', () => {
    const written: string[] = [];
    const destination = prettyStream((text) => written.push(text));
    const logger = createLogger({ app: 'test', level: 'info', destination });
    logger.warn({ count: 2, token: planted, err: new Error('a', { cause: new Error('b') }) }, 'Something odd');
    const escape = String.fromCharCode(27);
    const text = written.join('').replaceAll(new RegExp(`${escape}\\[\\d+m`, 'g'), '');
    expect(text).toMatch(
      /^\d\d:\d\d:\d\d\.\d{3} warn {2}test Something odd count=2 token=\[redacted\]\n {2}Error: a\n/,
    );
    expect(text).toContain('Error: b');
  });
});
