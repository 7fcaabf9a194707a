import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { type AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { createRandom } from '../seeded-random.ts';
import { groundedReply, type PromptMessage } from './grounded-reply.ts';
import { stubEmbedding } from './stub-embedding.ts';

/** A request as it came. */
export interface StubRequest {
  /** Without the version: `/chat/completions`, `/embeddings`, `/models`. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: StubRequestBody;
}

export interface StubRequestBody {
  readonly model?: string;
  readonly messages?: readonly PromptMessage[];
  readonly input?: string | readonly string[];
  readonly stream?: boolean;
  readonly [name: string]: unknown;
}

/** What goes wrong. `cut_*` destroys the connection: before the answer, or in the middle of it. `early_end` leaves out the rest. */
export type StubFault =
  'hang' | 'cut_connection' | 'cut_answer' | 'early_end' | 'empty_body' | 'not_json' | 'no_choices';

/** How one request is answered; nothing of it: as a good model would. */
export interface StubBehaviour {
  readonly delayMs?: number;
  /** Between two pieces of a stream. */
  readonly pieceDelayMs?: number;
  readonly fault?: StubFault;
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** Instead of the usual body. */
  readonly body?: unknown;
  /** What the chat model says. */
  readonly text?: string;
  /** The same, in pieces of a stream. */
  readonly pieces?: readonly string[];
  readonly finishReason?: string;
  /** null: the answer has none. */
  readonly usage?: unknown;
}

export interface StubOptions {
  /** 0: a free one. */
  readonly port?: number;
  /** Of its vectors. */
  readonly dimensions?: number;
  /** Every request needs it as its bearer token. */
  readonly apiKey?: string;
  /** Before each answer. */
  readonly delayMs?: number;
  /** Delays up to `maxDelayMs` and a share of failures (429, 500, cut, rubbish, nothing), the same ones for the same seed. */
  readonly chance?: { readonly seed: number; readonly maxDelayMs: number; readonly failureShare: number };
  /** What its chat model says; as one that keeps to our prompts unless told. */
  readonly reply?: (messages: readonly PromptMessage[]) => string;
}

export interface StubOpenAi {
  /** For `OPENAI_BASE_URL`. */
  readonly url: string;
  /** All requests since the last `clear`, oldest first; of a long run the last 10,000. */
  readonly requests: readonly StubRequest[];
  /** Bodies of chat requests. */
  chats(): StubRequestBody[];
  /** Bodies of embedding requests. */
  embeddings(): StubRequestBody[];
  /** The next requests are answered like this, one each. */
  next(...behaviours: readonly StubBehaviour[]): void;
  /** Requests that {@link next} leaves are answered as this says; undefined: as a good model would. */
  behave(choose: (request: StubRequest) => StubBehaviour | undefined): void;
  /** Forgets requests and behaviours. */
  clear(): void;
  close(): Promise<void>;
}

const keptRequests = 10_000;

/**
 * A server that speaks as much of OpenAI's protocol as we use, on 127.0.0.1: `/v1/chat/completions` (whole and streamed),
 * `/v1/embeddings`, `/v1/models`. From another process: `GET` and `DELETE /stub/requests`, `POST /stub/next` with a list of behaviours.
 */
export async function startStubOpenAi(options: StubOptions = {}): Promise<StubOpenAi> {
  const requests: StubRequest[] = [];
  const queue: StubBehaviour[] = [];
  const stopped = new AbortController();
  let choose: (request: StubRequest) => StubBehaviour | undefined = () => undefined;
  const chance = options.chance && chanceOf(options.chance);
  const clear = (): void => {
    requests.length = 0;
    queue.length = 0;
    choose = () => undefined;
  };

  const server = createServer((message, response) => {
    void answer(message, response).catch(() => response.destroy());
  });
  async function answer(message: IncomingMessage, response: ServerResponse): Promise<void> {
    const text = await bodyOf(message);
    const path = (message.url ?? '').replace(/^\/v1/, '');
    if (path.startsWith('/stub/')) return control(path, message.method, text, response);
    const body = parsed(text);
    const request: StubRequest = { path, headers: message.headers, body: body ?? {} };
    requests.push(request);
    if (requests.length > keptRequests) requests.shift();

    const behaviour: StubBehaviour = queue.shift() ?? choose(request) ?? chance?.() ?? {};
    const delayMs = behaviour.delayMs ?? options.delayMs ?? 0;
    if (delayMs > 0) await delay(delayMs, undefined, { signal: stopped.signal });
    if (behaviour.fault === 'hang') return;
    if (behaviour.fault === 'cut_connection') return void response.destroy();
    for (const [name, value] of Object.entries(behaviour.headers ?? {})) response.setHeader(name, value);
    if (behaviour.fault === 'empty_body') return void response.end();
    if (behaviour.fault === 'not_json') return void response.end('<html>Bad gateway</html>');
    const status = behaviour.status ?? 200;
    if (behaviour.body !== undefined || status !== 200) {
      const { body: given = { error: { message: 'Planned', type: 'stub_error', param: null, code: null } } } =
        behaviour;
      return sendJson(response, status, given, behaviour);
    }
    const complaint =
      options.apiKey !== undefined && message.headers.authorization !== `Bearer ${options.apiKey}`
        ? { status: 401, code: 'invalid_api_key' }
        : complaintAbout(path, body);
    if (complaint) {
      return sendJson(response, complaint.status, { error: { message: 'Refused', param: null, ...complaint } }, {});
    }
    if (path === '/models')
      return sendJson(response, 200, { object: 'list', data: [{ id: 'stub', object: 'model' }] }, {});
    if (path === '/embeddings')
      return sendJson(response, 200, embeddingBody(request.body, options.dimensions ?? 64), behaviour);
    const said =
      behaviour.text ?? behaviour.pieces?.join('') ?? (options.reply ?? groundedReply)(request.body.messages ?? []);
    if (request.body.stream === true) return sendStream(response, request.body, said, behaviour, stopped.signal);
    return sendJson(response, 200, chatBody(request.body, said, behaviour), behaviour);
  }
  function control(path: string, method: string | undefined, text: string, response: ServerResponse): void {
    if (path === '/stub/next' && method === 'POST') queue.push(...(JSON.parse(text) as StubBehaviour[]));
    else if (path === '/stub/requests' && method === 'DELETE') clear();
    else if (path !== '/stub/requests') return void response.writeHead(404).end();
    sendJson(response, 200, { items: requests }, {});
  }

  server.listen(options.port ?? 0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const bodiesOf = (path: string) => requests.filter((request) => request.path === path).map(({ body }) => body);
  return {
    url: `http://127.0.0.1:${String(port)}/v1`,
    requests,
    chats: () => bodiesOf('/chat/completions'),
    embeddings: () => bodiesOf('/embeddings'),
    next: (...behaviours) => void queue.push(...behaviours),
    behave: (given) => void (choose = given),
    clear,
    close: async () => {
      stopped.abort();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function bodyOf(message: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of message) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
}

function parsed(text: string): StubRequestBody | undefined {
  try {
    return JSON.parse(text) as StubRequestBody;
  } catch {
    return undefined;
  }
}

/** What OpenAI would refuse of a request of ours. */
function complaintAbout(path: string, body: StubRequestBody | undefined): { status: number; code: string } | undefined {
  const refused = (code: string) => ({ status: 400, code });
  if (path === '/models') return undefined;
  if (path !== '/chat/completions' && path !== '/embeddings') return { status: 404, code: 'not_found' };
  if (typeof body?.model !== 'string') return refused('missing_model');
  if (path === '/embeddings') {
    const texts = [body.input ?? []].flat();
    const areRight =
      texts.length > 0 && texts.length <= 2_048 && texts.every((text) => typeof text === 'string' && text !== '');
    return areRight ? undefined : refused('invalid_input');
  }
  const roles = ['system', 'developer', 'user', 'assistant'];
  const messages = body.messages ?? [];
  const areRight = messages.every(({ role, content }) => roles.includes(role) && typeof content === 'string');
  return messages.length > 0 && areRight ? undefined : refused('invalid_messages');
}

const tokensIn = (text: string): number => Math.ceil(text.length / 4);

function usageOf(body: StubRequestBody, said: string, { usage }: StubBehaviour): unknown {
  if (usage !== undefined) return usage;
  const prompt = (body.messages ?? []).reduce((sum, { content }) => sum + tokensIn(content), 0);
  const completion = tokensIn(said);
  return { prompt_tokens: prompt, completion_tokens: completion, total_tokens: prompt + completion };
}

const head = ({ model }: StubRequestBody, object: string) => ({ id: 'chatcmpl-stub', object, created: 0, model });

function chatBody(body: StubRequestBody, said: string, behaviour: StubBehaviour): unknown {
  const choice = {
    index: 0,
    message: { role: 'assistant', content: said },
    finish_reason: behaviour.finishReason ?? 'stop',
  };
  const choices = behaviour.fault === 'no_choices' ? [] : [choice];
  return { ...head(body, 'chat.completion'), choices, usage: usageOf(body, said, behaviour) };
}

function embeddingBody({ model, input }: StubRequestBody, dimensions: number): unknown {
  const texts = [input ?? []].flat();
  const data = texts.map((text, index) => ({ object: 'embedding', index, embedding: stubEmbedding(text, dimensions) }));
  const tokens = texts.reduce((sum, text) => sum + tokensIn(text), 0);
  return { object: 'list', model, data, usage: { prompt_tokens: tokens, total_tokens: tokens } };
}

function sendJson(response: ServerResponse, status: number, body: unknown, { fault }: StubBehaviour): void {
  const bytes = Buffer.from(typeof body === 'string' ? body : JSON.stringify(body));
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': bytes.length });
  if (fault !== 'cut_answer' && fault !== 'early_end') return void response.end(bytes);
  response.write(bytes.subarray(0, bytes.length / 2), () => response.destroy());
}

async function sendStream(
  response: ServerResponse,
  body: StubRequestBody,
  said: string,
  behaviour: StubBehaviour,
  stopped: AbortSignal,
): Promise<void> {
  const { fault, pieceDelayMs = 0, finishReason = 'stop' } = behaviour;
  const send = (part: object): void =>
    void response.write(`data: ${JSON.stringify({ ...head(body, 'chat.completion.chunk'), ...part })}\n\n`);
  const delta = (content: object, reason: string | null = null): void =>
    send({ choices: [{ index: 0, delta: content, finish_reason: reason }] });
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  delta({ role: 'assistant', content: '' });
  const pieces = behaviour.pieces ?? said.match(/\S+\s*|\s+/g) ?? [];
  const isEndless = fault !== 'cut_answer' && fault !== 'early_end' && fault !== 'no_choices';
  for (const piece of isEndless ? pieces : pieces.slice(0, Math.floor(pieces.length / 2))) {
    if (fault !== 'no_choices') delta({ content: piece });
    if (pieceDelayMs > 0) await delay(pieceDelayMs, undefined, { signal: stopped });
  }
  if (fault === 'cut_answer') {
    // What was written reaches the other side before the end of the connection does.
    return void response.write(': \n\n', () => response.destroy());
  }
  if (fault === 'early_end') return void response.end();
  if (fault !== 'no_choices') delta({}, finishReason);
  const asksForUsage = (body.stream_options as { include_usage?: boolean } | undefined)?.include_usage === true;
  const usage = usageOf(body, said, behaviour);
  if (asksForUsage && usage !== null) send({ choices: [], usage });
  response.end('data: [DONE]\n\n');
}

/** Behaviours by chance, the same ones for the same seed. */
function chanceOf(options: NonNullable<StubOptions['chance']>): () => StubBehaviour {
  const random = createRandom(options.seed);
  const failures: readonly StubBehaviour[] = [
    { status: 429, headers: { 'retry-after': '1' } },
    { status: 500 },
    { fault: 'cut_connection' },
    { fault: 'cut_answer' },
    { fault: 'not_json' },
    { text: '' },
  ];
  return () => {
    const delayMs = random.between(0, options.maxDelayMs);
    const failure = random.next() < options.failureShare ? random.pick(failures) : undefined;
    return { ...failure, delayMs };
  };
}
