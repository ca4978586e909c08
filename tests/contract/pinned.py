"""
The contract as CONTRACT.md pins it, spelled once more by hand: what the descriptors must say, word for word.

Types without a dot are scalars or of this package; `Timestamp` and `Duration` are those of google.protobuf.
Changing a line needs a decision record; adding one is free.
"""

from typing import Final

MESSAGES: Final = """
message Cursor { bytes value = 1; }
message ClientInfo { string ip = 1; string user_agent = 2; string device_id = 3; string device_name = 4; }
message TokenPair { string access_token = 1; Timestamp access_expires_at = 2; string refresh_token = 3;
  Timestamp refresh_expires_at = 4; Timestamp server_time = 5; }

message LoginRequest { string app_id = 1; oneof credential { string mini_program_code = 2; string legacy_token = 3; }
  reserved 4 to 7;
  ClientInfo client = 8; string phone_code = 9; }
message LoginResponse { string user_id = 1; string session_id = 2; string openid = 3; optional string unionid = 4;
  TokenPair tokens = 5; bool is_new_user = 6; repeated string previous_user_ids = 7; optional string external_id = 8;
  optional string phone_number = 9; ErrorReason phone_error = 10; }
message RefreshTokenRequest { string refresh_token = 1; ClientInfo client = 2; }
message RefreshTokenResponse { string user_id = 1; string session_id = 2; TokenPair tokens = 3;
  repeated string previous_user_ids = 4; }
message VerifyTokenRequest { string access_token = 1; string audience = 2; repeated string required_scopes = 3;
  repeated string required_roles = 4; Cursor at_least = 5; }
message VerifyTokenResponse { oneof outcome { Active active = 1; Inactive inactive = 2; } Cursor known_through = 3;
  Duration age = 4; }
message Active { string user_id = 1; string session_id = 2; string app_id = 3; optional string openid = 4;
  repeated string scopes = 5; repeated string roles = 6; repeated string audiences = 7; string token_id = 8;
  Timestamp issued_at = 9; Timestamp expires_at = 10; repeated string previous_user_ids = 11;
  optional string external_id = 12; }
message Inactive { InactiveReason reason = 1; SessionEndReason session_end_reason = 2; }
message BatchVerifyTokensRequest { repeated VerifyTokenRequest requests = 1; }
message BatchVerifyTokensResponse { repeated VerifyTokenResponse responses = 1; }
message UserTarget { string user_id = 1; string app_id = 2; }
message RevokeRequest { oneof target { string access_token = 1; string refresh_token = 2; string session_id = 3;
  UserTarget user = 4; string app_id = 5; } RevokeScope scope = 6; SessionEndReason reason = 7; }
message RevokeResponse { Cursor cursor = 1; int32 ended_sessions = 2; bytes position = 3; }

message Session { string session_id = 1; string user_id = 2; string app_id = 3; Timestamp created_at = 4;
  Timestamp last_refreshed_at = 5; Timestamp expires_at = 6; ClientInfo client = 7; bool live = 8;
  SessionEndReason end_reason = 9; Timestamp ended_at = 10; string ended_by = 11; }
message GetSessionRequest { oneof target { string session_id = 1; string access_token = 2; } Cursor at_least = 3; }
message GetSessionResponse { Session session = 1; }
message ListSessionsRequest { string user_id = 1; string app_id = 2; bool include_ended = 3; int32 page_size = 4;
  string page_token = 5; Cursor at_least = 6; }
message ListSessionsResponse { repeated Session sessions = 1; string next_page_token = 2; }

message WatchRevocationsRequest { Cursor resume_from = 1; }
message WatchRevocationsResponse { oneof body { SnapshotPart snapshot_part = 1; Changes changes = 2;
  GoAway go_away = 3; Heartbeat heartbeat = 6; } Cursor complete_through = 4; Duration age = 5;
  bytes position_through = 7; }
message SnapshotPart { repeated Revocation revocations = 1; repeated PackedSessions sessions = 2; bool last = 3; }
message PackedSessions { bytes ids = 1; SessionEndReason reason = 2; Timestamp useful_until = 3; }
message Changes { repeated Revocation revocations = 1; }
message GoAway { }
message Heartbeat { }
message Revocation { oneof target { bytes session_id = 1; string user_id = 2; string app_id = 3; string key_id = 4; }
  bytes position = 5; SessionEndReason reason = 6; Timestamp useful_until = 7; string app_filter = 8; }

message GetJwksRequest { }
message GetJwksResponse { string jwks_json = 1; Duration max_age = 2; repeated string withdrawn_key_ids = 3;
  string issuer = 4; Duration max_token_lifetime = 5; }

message DecryptUserDataRequest { oneof subject { string access_token = 1; UserTarget user = 2; } string encrypted_data
  = 3; string iv = 4; Duration max_age = 5; }
message DecryptUserDataResponse { string user_data_json = 1; Timestamp encrypted_at = 2; }
message CheckUserDataSignatureRequest { oneof subject { string access_token = 1; UserTarget user = 2; } string raw_data
  = 3; string signature = 4; }
message CheckUserDataSignatureResponse { bool valid = 1; }
message GetPhoneNumberRequest { oneof subject { string access_token = 1; UserTarget user = 2; } string code = 3; }
message GetPhoneNumberResponse { string phone_number = 1; string pure_phone_number = 2; string country_code = 3; bool
  bound = 4; }
message CheckSessionKeyRequest { oneof subject { string access_token = 1; UserTarget user = 2; } }
message CheckSessionKeyResponse { bool valid = 1; }
message ResetSessionKeyRequest { oneof subject { string access_token = 1; UserTarget user = 2; } }
message ResetSessionKeyResponse { Timestamp reset_at = 1; }

message Identity { string app_id = 1; string openid = 2; Timestamp created_at = 3; }
message UnionIdentity { string platform_group = 1; string unionid = 2; }
message UserBlock { string reason = 1; string blocked_by = 2; Timestamp blocked_at = 3; Timestamp blocked_until = 4; }
message User { string user_id = 1; Timestamp created_at = 2; repeated Identity identities = 3; repeated UnionIdentity
  unionids = 4; repeated string roles = 5; optional string external_id = 6; UserBlock block = 7; repeated string
  previous_user_ids = 8; optional string phone_number = 9; }
message GetUserRequest { string user_id = 1; bool include_phone_number = 2; }
message GetUserResponse { User user = 1; }
message FindUserRequest { oneof key { Identity identity = 1; UnionIdentity union_identity = 2; string external_id = 3;
  string phone_number = 4; } }
message FindUserResponse { repeated User users = 1; }
message BlockUserRequest { string user_id = 1; string reason = 2; Timestamp blocked_until = 3; }
message BlockUserResponse { Cursor cursor = 1; int32 ended_sessions = 2; bytes position = 3; }
message UnblockUserRequest { string user_id = 1; }
message UnblockUserResponse { }
message SetUserRolesRequest { string user_id = 1; repeated string roles = 2; }
message SetUserRolesResponse { User user = 1; }
message SetExternalIdRequest { string user_id = 1; string external_id = 2; }
message SetExternalIdResponse { User user = 1; }
message MergeUsersRequest { string surviving_user_id = 1; string merged_user_id = 2; string reason = 3; }
message MergeUsersResponse { User user = 1; Cursor cursor = 2; int32 ended_sessions = 3; bytes position = 4; }
message SplitUserRequest { string merged_user_id = 1; string surviving_user_id = 2; string reason = 3; }
message SplitUserResponse { User user = 1; Cursor cursor = 2; int32 ended_sessions = 3; bytes position = 4; }
message ListPendingMergesRequest { int32 page_size = 1; string page_token = 2; }
message PendingMerge { string surviving_user_id = 1; string merged_user_id = 2; string platform_group = 3; Timestamp
  seen_at = 4; }
message ListPendingMergesResponse { repeated PendingMerge pending_merges = 1; string next_page_token = 2; }
message ImportedUser { string app_id = 1; string openid = 2; string unionid = 3; string external_id = 4; }
message ImportUsersRequest { repeated ImportedUser users = 1; }
message ImportUsersResponse { repeated ImportOutcome outcomes = 1; }
message ExportUserRequest { string user_id = 1; }
message ExportUserResponse { string user_json = 1; }
message CodeSubject { string app_id = 1; string code = 2; }
message EraseUserRequest { oneof subject { string user_id = 1; CodeSubject code = 2; } }
message EraseUserResponse { Cursor cursor = 1; int32 ended_sessions = 2; bytes position = 3; }
"""

SERVICES: Final = """
service AuthService { Login; RefreshToken; VerifyToken; BatchVerifyTokens; Revoke; }
service SessionService { GetSession; ListSessions; }
service KeyService { GetJwks; }
service RevocationService { stream WatchRevocations; }
service WeChatService { DecryptUserData; CheckUserDataSignature; GetPhoneNumber; CheckSessionKey; ResetSessionKey; }
service UserService { GetUser; FindUser; BlockUser; UnblockUser; SetUserRoles; SetExternalId; MergeUsers; SplitUser;
  ListPendingMerges; ImportUsers; ExportUser; EraseUser; }
"""

ENUMS: Final = """
enum InactiveReason { UNSPECIFIED=0 MALFORMED=1 UNKNOWN_KEY=2 BAD_SIGNATURE=3 WRONG_TYPE=4 WRONG_ISSUER=5
  WRONG_AUDIENCE=6 MISSING_SCOPE=7 EXPIRED=8 NOT_YET_VALID=9 SESSION_REVOKED=10 USER_REVOKED=11 APP_REVOKED=12
  KEY_WITHDRAWN=13 MISSING_ROLE=14 LIFETIME_TOO_LONG=15 }
enum SessionEndReason { UNSPECIFIED=0 LOGOUT=1 SUPERSEDED=2 REPLACED=3 ADMIN=4 BLOCKED=5 REFRESH_REUSE=6
  REFRESH_STALE=7 EXPIRED=8 MERGED=9 STORE_RESTORED=10 }
enum ImportOutcome { UNSPECIFIED=0 CREATED=1 LINKED=2 UNCHANGED=3 CONFLICT=4 ERASED=5 }
enum RevokeScope { UNSPECIFIED=0 SESSION=1 ALL=2 }
enum ErrorReason { UNSPECIFIED=0 INVALID_FIELD=1 LOGIN_CODE_INVALID=2 LOGIN_CODE_USED=3 LOGIN_CODE_SPENT=4
  WECHAT_USER_BLOCKED=5 USER_BLOCKED=6 WECHAT_THROTTLED=7 RATE_LIMITED=8 WECHAT_UNAVAILABLE=9 STORE_UNAVAILABLE=10
  NOT_FRESH=11 WECHAT_MISCONFIGURED=12 UNKNOWN_APP=13 APP_DISABLED=14 REFRESH_TOKEN_INVALID=15 SESSION_ENDED=16
  TOKEN_INVALID=17 TOKEN_INSUFFICIENT=18 PHONE_CODE_INVALID=19 CALLER_UNAUTHENTICATED=20 CALLER_FORBIDDEN=21
  SESSION_KEY_STALE=22 USER_DATA_INVALID=23 NOT_FOUND=24 CURSOR_EXPIRED=25 WATCHER_TOO_SLOW=26 INTERNAL=27
  EXTERNAL_ID_TAKEN=28 MERGE_IMPOSSIBLE=29 }
"""

# CONTRACT.md, "Reasons -> gRPC code -> HTTP"; None: never crosses the edge.
REASONS: Final[dict[str, tuple[str, int | None]]] = {
    "INVALID_FIELD": ("INVALID_ARGUMENT", 400),
    "LOGIN_CODE_INVALID": ("INVALID_ARGUMENT", 400),
    "LOGIN_CODE_USED": ("ABORTED", 409),
    "LOGIN_CODE_SPENT": ("ABORTED", 409),
    "WECHAT_USER_BLOCKED": ("PERMISSION_DENIED", 403),
    "USER_BLOCKED": ("PERMISSION_DENIED", 403),
    "WECHAT_THROTTLED": ("RESOURCE_EXHAUSTED", 429),
    "RATE_LIMITED": ("RESOURCE_EXHAUSTED", 429),
    "WECHAT_UNAVAILABLE": ("UNAVAILABLE", 503),
    "STORE_UNAVAILABLE": ("UNAVAILABLE", 503),
    "NOT_FRESH": ("UNAVAILABLE", 503),
    "WECHAT_MISCONFIGURED": ("FAILED_PRECONDITION", 503),
    "UNKNOWN_APP": ("FAILED_PRECONDITION", 400),
    "APP_DISABLED": ("FAILED_PRECONDITION", 400),
    "REFRESH_TOKEN_INVALID": ("UNAUTHENTICATED", 401),
    "SESSION_ENDED": ("UNAUTHENTICATED", 401),
    "TOKEN_INVALID": ("UNAUTHENTICATED", 401),
    "TOKEN_INSUFFICIENT": ("PERMISSION_DENIED", 403),
    "PHONE_CODE_INVALID": ("INVALID_ARGUMENT", 400),
    "CALLER_UNAUTHENTICATED": ("UNAUTHENTICATED", 401),
    "CALLER_FORBIDDEN": ("PERMISSION_DENIED", 403),
    "SESSION_KEY_STALE": ("FAILED_PRECONDITION", 409),
    "USER_DATA_INVALID": ("INVALID_ARGUMENT", 400),
    "NOT_FOUND": ("NOT_FOUND", 404),
    "CURSOR_EXPIRED": ("OUT_OF_RANGE", 410),
    "WATCHER_TOO_SLOW": ("RESOURCE_EXHAUSTED", None),
    "INTERNAL": ("INTERNAL", 500),
    "EXTERNAL_ID_TAKEN": ("ALREADY_EXISTS", 409),
    "MERGE_IMPOSSIBLE": ("FAILED_PRECONDITION", 409),
}

_USERS: Final = {"users", "operator"}
_USERDATA: Final = {"userdata", "operator"}
# DESIGN.md section 9: the roles, and who may call what.
CALLERS: Final[dict[str, set[str]]] = {
    "Login": {"edge"},
    "RefreshToken": {"edge"},
    "VerifyToken": {"edge", "verifier", "operator"},
    "BatchVerifyTokens": {"edge", "verifier", "operator"},
    "Revoke": {"edge", "revoker", "operator"},
    "GetSession": {"edge", "operator"},
    "ListSessions": {"operator"},
    "GetJwks": {"edge", "verifier", "operator"},
    "WatchRevocations": {"edge", "verifier", "operator"},
    "DecryptUserData": {"edge", *_USERDATA},
    "CheckUserDataSignature": _USERDATA,
    "GetPhoneNumber": {"edge", *_USERDATA},
    "CheckSessionKey": _USERDATA,
    "ResetSessionKey": _USERDATA,
    "GetUser": _USERS,
    "FindUser": _USERS,
    "BlockUser": _USERS,
    "UnblockUser": _USERS,
    "SetUserRoles": _USERS,
    "SetExternalId": _USERS,
    "MergeUsers": _USERS,
    "SplitUser": _USERS,
    "ListPendingMerges": _USERS,
    "ImportUsers": _USERS,
    "ExportUser": _USERS,
    "EraseUser": {"edge", *_USERS},
}
# What the edge may name in these: the user's own token, or a fresh code of theirs. In every other RPC of its, anything.
EDGE_CASES: Final[dict[str, set[str]]] = {
    "Revoke": {"access_token", "refresh_token"},
    "GetSession": {"access_token"},
    "DecryptUserData": {"access_token"},
    "GetPhoneNumber": {"access_token"},
    "EraseUser": {"code"},
}
NOT_IDEMPOTENT: Final = {"Login", "GetPhoneNumber", "ResetSessionKey", "EraseUser"}
