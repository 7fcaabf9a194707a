export { type HttpMethod, type HttpResponse, type RequestHeaders, type StreamedResponse } from './exchange.ts';
export { closeOperatorConnections, fetchOperator, streamOperator, type OperatorRequest } from './fetch-operator.ts';
export { fetchUntrusted, type UntrustedRequest } from './fetch-untrusted.ts';
export { OutboundError, UrlRefused, type Delivery, type OutboundCode, type RefusalCode } from './outbound-error.ts';
export { isPublicAddress } from './public-address.ts';
