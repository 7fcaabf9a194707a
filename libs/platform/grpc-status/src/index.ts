export { errorOfStatus, InvalidFields, statusOfError, type FieldProblem, type GrpcStatus } from './grpc-status.ts';
