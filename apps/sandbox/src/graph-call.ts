import { setTimeout as delay } from 'node:timers/promises';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { CallKind, ManagementCallFields } from './control-schemas.ts';
import type { CallFault } from './fault-switch.ts';
import { refusal, type GraphRefusal } from './graph-error.ts';
import type { Meta } from './meta.ts';

/** Addresses of the Graph API: its version, and the object that is called. */
export interface GraphRoute {
  Params: { version: string; id: string };
}

/** Thrown by whatever answers a call, to refuse it. */
export class GraphRefused extends Error {
  constructor(readonly refusal: GraphRefusal) {
    super('refused');
  }
}

/** One call: what was given with it, and what it turned out to be about. */
export interface GraphCall {
  readonly method: string;
  readonly id: string;
  /** Without query. */
  readonly path: string;
  /** Of query and body, as Graph takes them from either. */
  readonly parameters: Readonly<Record<string, unknown>>;
  readonly token: string | undefined;
  /** Address of the sandbox as the caller wrote it. */
  readonly origin: string;
  /** What the journal says of it; filled by whoever finds out. */
  readonly about: { phoneNumberId?: string; wabaId?: string; appId?: string };
}

/** Reads a call from its request. A token in the header counts before one among the parameters. */
export function readCall(request: FastifyRequest<GraphRoute>): GraphCall {
  const { body, query } = request;
  const parameters = { ...asRecord(query), ...asRecord(body) };
  const inHeader = /^(?:Bearer|OAuth) (.+)$/i.exec(request.headers.authorization ?? '')?.[1];
  const inParameters = parameters['access_token'];
  return {
    method: request.method,
    id: request.params.id,
    path: pathOf(request),
    parameters,
    token: inHeader ?? (typeof inParameters === 'string' && inParameters !== '' ? inParameters : undefined),
    origin: `${request.protocol}://${request.host}`,
    about: {},
  };
}

/** Answers a call with what `take` gives, or with why it was refused, after whatever fault is switched on. */
export async function answerCall(
  meta: Meta,
  kind: CallKind,
  request: FastifyRequest<GraphRoute>,
  reply: FastifyReply,
  take: (fault: CallFault) => Promise<unknown>,
  onRefused?: (refusal: GraphRefusal) => Promise<void>,
): Promise<FastifyReply> {
  const fault = meta.faults.next(kind, pathOf(request));
  if (fault.latencyMs > 0) await delay(fault.latencyMs / 2);
  if (fault.cutBeforeAccept) return cut(request, reply);
  let answer: unknown;
  try {
    const injected = injectedRefusal(fault);
    if (injected) throw new GraphRefused(injected);
    answer = await take(fault);
  } catch (error) {
    if (!(error instanceof GraphRefused)) throw error;
    await onRefused?.(error.refusal);
    if (fault.error?.graphErrorBody === false) {
      return reply.code(error.refusal.status).type('text/html').send('<html>Bad gateway</html>');
    }
    return refuse(reply, error.refusal);
  }
  if (fault.cutAfterAccept) return cut(request, reply);
  if (fault.latencyMs > 0) await delay(fault.latencyMs / 2);
  return reply.send(answer);
}

/** Makes a route of what answers a management call; each call is one line of the journal. */
export function managementRoute(meta: Meta, take: (call: GraphCall) => unknown) {
  return (request: FastifyRequest<GraphRoute>, reply: FastifyReply): Promise<FastifyReply> => {
    const call = readCall(request);
    const write = (refusedWith?: number) => meta.journal.append(journalLine(meta, call, refusedWith));
    return answerCall(
      meta,
      'management',
      request,
      reply,
      async () => {
        const answer = await take(call);
        if (call.method !== 'GET') await meta.accountsFile.save();
        await write();
        return answer;
      },
      ({ body }) => write(body.error.code),
    );
  };
}

export function refuse(reply: FastifyReply, { status, body }: GraphRefusal): FastifyReply {
  return reply.code(status).send(body);
}

/** Error 100 with one text for people and machines. */
export function badParameter(text: string): GraphRefusal {
  return refusal(100, { message: `(#100) ${text}`, details: text });
}

function pathOf(request: FastifyRequest<GraphRoute>): string {
  return request.url.replace(/\?.*$/s, '');
}

function journalLine(meta: Meta, call: GraphCall, refusedWith?: number): ManagementCallFields {
  return {
    at: new Date(meta.now()).toISOString(),
    kind: 'management',
    method: call.method,
    path: call.path,
    parameters: Object.keys(call.parameters).sort(),
    ...call.about,
    ...(refusedWith !== undefined && { refusedWith }),
  };
}

function injectedRefusal({ expiredToken, error }: CallFault): GraphRefusal | undefined {
  if (expiredToken)
    return refusal(190, { subcode: 463, message: 'Error validating access token: Session has expired.' });
  if (!error) return undefined;
  const { status, errorCode, errorSubcode, graphErrorBody } = error;
  const code = errorCode ?? (status === 429 ? 80007 : status >= 500 ? 2 : 131000);
  const given = graphErrorBody ? status : status || 502;
  return refusal(code, {
    ...(given > 0 && { status: given }),
    ...(errorSubcode !== undefined && { subcode: errorSubcode }),
    ...(status >= 500 && { isTransient: true }),
  });
}

function asRecord(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};
}

/** Ends the connection without an answer. */
function cut(request: FastifyRequest<GraphRoute>, reply: FastifyReply): FastifyReply {
  reply.hijack();
  request.raw.socket.destroy();
  return reply;
}
