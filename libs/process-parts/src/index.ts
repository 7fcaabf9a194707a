export { checkedStart, commonSettings, type CommonConfig } from './checked-start.ts';
export { connectDatabase, connectMessageBus, graphClient, graphManagement } from './connect.ts';
export { gatewayOptions, gatewaySettings } from './gateway-settings.ts';
export { PartsModule, type Part } from './parts.module.ts';
export { ragClient } from './rag-client.ts';
