export { ChangePlan } from './change-plan/change-plan.ts';
export { CreateWorkspace } from './create-workspace/create-workspace.ts';
export { GatewayModule } from './gateway.module.ts';
export { createGatewayAdapter, openGatewayDoors } from './gateway-http.ts';
export { type GatewayOptions } from './gateway-options.ts';
export { RotateKeys, type RotatedKeys } from './rotate-keys/rotate-keys.ts';
