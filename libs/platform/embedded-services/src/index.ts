export { findNatsServer, type FindNatsServerOptions } from './find-nats-server.ts';
export { freePort } from './free-port.ts';
export { runningNats, startEmbeddedNats, type EmbeddedNats, type EmbeddedNatsOptions } from './nats.ts';
export {
  runningPostgresUrl,
  startEmbeddedPostgres,
  type EmbeddedPostgres,
  type EmbeddedPostgresOptions,
} from './postgres.ts';
export {
  claimServiceDir,
  endServiceIn,
  isServiceDirOwned,
  type ServiceExit,
  type ServiceProcess,
} from './service-process.ts';
