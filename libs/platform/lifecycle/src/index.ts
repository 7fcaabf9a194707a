export { HealthRegistry, type Readiness } from './health-registry.ts';
export { healthRoutes } from './health-routes.ts';
export { startHealthServer } from './health-server.ts';
export { listenOn, requirePort } from './listen-on.ts';
export { runProcess, type StartingProcess } from './run-process.ts';
