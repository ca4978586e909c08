// Written by generate.sh from clients/service_config.json.

/** The gRPC service config of every client of the contract: retries for what may be repeated, none for Login. */
export const SERVICE_CONFIG = String.raw`
{
  "loadBalancingConfig": [{"round_robin": {}}],
  "healthCheckConfig": {"serviceName": "authapi.v1.AuthService"},
  "retryThrottling": {"maxTokens": 100, "tokenRatio": 0.1},
  "methodConfig": [
    {
      "name": [
        {"service": "authapi.v1.AuthService", "method": "RefreshToken"},
        {"service": "authapi.v1.AuthService", "method": "VerifyToken"},
        {"service": "authapi.v1.AuthService", "method": "BatchVerifyTokens"},
        {"service": "authapi.v1.AuthService", "method": "Revoke"},
        {"service": "authapi.v1.SessionService", "method": "GetSession"},
        {"service": "authapi.v1.SessionService", "method": "ListSessions"},
        {"service": "authapi.v1.WeChatService", "method": "DecryptUserData"},
        {"service": "authapi.v1.WeChatService", "method": "CheckUserDataSignature"},
        {"service": "authapi.v1.WeChatService", "method": "CheckSessionKey"},
        {"service": "authapi.v1.UserService", "method": "GetUser"},
        {"service": "authapi.v1.UserService", "method": "FindUser"},
        {"service": "authapi.v1.UserService", "method": "BlockUser"},
        {"service": "authapi.v1.UserService", "method": "UnblockUser"},
        {"service": "authapi.v1.UserService", "method": "SetUserRoles"},
        {"service": "authapi.v1.UserService", "method": "SetExternalId"},
        {"service": "authapi.v1.UserService", "method": "MergeUsers"},
        {"service": "authapi.v1.UserService", "method": "SplitUser"},
        {"service": "authapi.v1.UserService", "method": "ListPendingMerges"},
        {"service": "authapi.v1.UserService", "method": "ExportUser"}
      ],
      "timeout": "10s",
      "retryPolicy": {
        "maxAttempts": 4,
        "initialBackoff": "0.1s",
        "maxBackoff": "1s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"]
      }
    },
    {
      "name": [{"service": "authapi.v1.KeyService", "method": "GetJwks"}],
      "timeout": "10s",
      "waitForReady": true,
      "retryPolicy": {
        "maxAttempts": 4,
        "initialBackoff": "0.1s",
        "maxBackoff": "1s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"]
      }
    },
    {
      "name": [{"service": "authapi.v1.RevocationService", "method": "WatchRevocations"}],
      "waitForReady": true,
      "retryPolicy": {
        "maxAttempts": 4,
        "initialBackoff": "0.1s",
        "maxBackoff": "1s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"]
      }
    },
    {
      "name": [
        {"service": "authapi.v1.AuthService", "method": "Login"},
        {"service": "authapi.v1.WeChatService", "method": "GetPhoneNumber"},
        {"service": "authapi.v1.WeChatService", "method": "ResetSessionKey"},
        {"service": "authapi.v1.UserService", "method": "EraseUser"}
      ],
      "timeout": "20s"
    },
    {
      "name": [{"service": "authapi.v1.UserService", "method": "ImportUsers"}],
      "timeout": "40s",
      "retryPolicy": {
        "maxAttempts": 4,
        "initialBackoff": "0.1s",
        "maxBackoff": "1s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"]
      }
    }
  ]
}
`;
