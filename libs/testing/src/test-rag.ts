import { type AskEvent, type AskRequest, type SearchRequest, type SearchResponse } from '@answerline/contracts';
import { statusOfError } from '@answerline/grpc-status';
import { ragPackageDefinition } from '@answerline/rag-client';
import {
  type Metadata,
  type sendUnaryData,
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type ServerWritableStream,
} from '@grpc/grpc-js';

/** What a scripted rag does with a call; what it throws becomes the call's status. `signal` says that the caller has gone. */
export interface RagScript {
  search(request: SearchRequest, metadata: Metadata): Promise<SearchResponse> | SearchResponse;
  ask(request: AskRequest, send: (event: AskEvent) => void, signal: AbortSignal): Promise<void> | void;
}

/** rag's side of the wire for one spec file: a gRPC server that does what the test says. */
export interface TestRag {
  /** `grpc://host:port` */
  readonly url: string;
  /** May be changed at any time. */
  script: RagScript;
  /** Cuts every connection. */
  stop(): Promise<void>;
  /** Listens again, at the same port. */
  restart(): Promise<void>;
}

/** Starts a scripted rag on loopback. */
export async function startTestRag(script: RagScript): Promise<TestRag> {
  let port = 0;
  let server: Server;
  const listen = async (): Promise<void> => {
    server = new Server();
    server.addService(ragPackageDefinition['answerline.rag.v1.RagService'], {
      search: (call: ServerUnaryCall<SearchRequest, SearchResponse>, done: sendUnaryData<SearchResponse>) => {
        (async () => rag.script.search(call.request, call.metadata))().then(
          (response) => done(null, response),
          (error: unknown) => done(statusOfError(error)),
        );
      },
      ask: (call: ServerWritableStream<AskRequest, AskEvent>) => {
        const gone = new AbortController();
        call.on('cancelled', () => gone.abort());
        (async () => rag.script.ask(call.request, (event) => void call.write(event), gone.signal))().then(
          () => call.end(),
          (error: unknown) => call.emit('error', statusOfError(error)),
        );
      },
    });
    port = await new Promise((resolve, reject) =>
      server.bindAsync(`127.0.0.1:${String(port)}`, ServerCredentials.createInsecure(), (error, bound) =>
        error ? reject(error) : resolve(bound),
      ),
    );
  };
  const rag: TestRag = {
    get url() {
      return `grpc://127.0.0.1:${String(port)}`;
    },
    script,
    stop: async () => server.forceShutdown(),
    restart: listen,
  };
  await listen();
  return rag;
}
