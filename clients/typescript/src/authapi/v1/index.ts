export * from "./auth_service_pb.js";
export * from "./error_reason_pb.js";
export * from "./key_service_pb.js";
export * from "./revocation_service_pb.js";
export * from "./session_service_pb.js";
export * from "./types_pb.js";
export * from "./user_service_pb.js";
export * from "./wechat_service_pb.js";
