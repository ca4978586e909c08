"""
Version 1 of the contract: every message, enum and service under one name.

`from authapi.v1 import LoginRequest, AuthServiceStub` is the way to import. Messages come at once. Names that need
grpcio (`*Stub`, `*AsyncStub`, `*Servicer`, `add_*`) are loaded at first use, so a program that only reads messages
pays neither the import nor the dependency. `*AsyncStub` is a name for annotations only: construct `*Stub` with a
`grpc.aio.Channel`.

The files beside this one are generated (`make gen`); nothing in them is edited by hand.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

from authapi.v1.auth_service_pb2 import (
    Active,
    BatchVerifyTokensRequest,
    BatchVerifyTokensResponse,
    Inactive,
    LoginRequest,
    LoginResponse,
    RefreshTokenRequest,
    RefreshTokenResponse,
    RevokeRequest,
    RevokeResponse,
    RevokeScope,
    UserTarget,
    VerifyTokenRequest,
    VerifyTokenResponse,
)
from authapi.v1.error_reason_pb2 import ErrorReason
from authapi.v1.key_service_pb2 import GetJwksRequest, GetJwksResponse
from authapi.v1.revocation_service_pb2 import (
    Changes,
    GoAway,
    Heartbeat,
    PackedSessions,
    Revocation,
    SnapshotPart,
    WatchRevocationsRequest,
    WatchRevocationsResponse,
)
from authapi.v1.session_service_pb2 import (
    GetSessionRequest,
    GetSessionResponse,
    ListSessionsRequest,
    ListSessionsResponse,
    Session,
)
from authapi.v1.types_pb2 import (
    ClientInfo,
    Cursor,
    InactiveReason,
    SessionEndReason,
    TokenPair,
)
from authapi.v1.user_service_pb2 import (
    BlockUserRequest,
    BlockUserResponse,
    CodeSubject,
    EraseUserRequest,
    EraseUserResponse,
    ExportUserRequest,
    ExportUserResponse,
    FindUserRequest,
    FindUserResponse,
    GetUserRequest,
    GetUserResponse,
    Identity,
    ImportedUser,
    ImportOutcome,
    ImportUsersRequest,
    ImportUsersResponse,
    ListPendingMergesRequest,
    ListPendingMergesResponse,
    MergeUsersRequest,
    MergeUsersResponse,
    PendingMerge,
    SetExternalIdRequest,
    SetExternalIdResponse,
    SetUserRolesRequest,
    SetUserRolesResponse,
    SplitUserRequest,
    SplitUserResponse,
    UnblockUserRequest,
    UnblockUserResponse,
    UnionIdentity,
    User,
    UserBlock,
)
from authapi.v1.wechat_service_pb2 import (
    CheckSessionKeyRequest,
    CheckSessionKeyResponse,
    CheckUserDataSignatureRequest,
    CheckUserDataSignatureResponse,
    DecryptUserDataRequest,
    DecryptUserDataResponse,
    GetPhoneNumberRequest,
    GetPhoneNumberResponse,
    ResetSessionKeyRequest,
    ResetSessionKeyResponse,
)

if TYPE_CHECKING:
    from authapi.v1.auth_service_pb2_grpc import (
        AuthServiceAsyncStub,
        AuthServiceServicer,
        AuthServiceStub,
        add_AuthServiceServicer_to_server,
    )
    from authapi.v1.key_service_pb2_grpc import (
        KeyServiceAsyncStub,
        KeyServiceServicer,
        KeyServiceStub,
        add_KeyServiceServicer_to_server,
    )
    from authapi.v1.revocation_service_pb2_grpc import (
        RevocationServiceAsyncStub,
        RevocationServiceServicer,
        RevocationServiceStub,
        add_RevocationServiceServicer_to_server,
    )
    from authapi.v1.session_service_pb2_grpc import (
        SessionServiceAsyncStub,
        SessionServiceServicer,
        SessionServiceStub,
        add_SessionServiceServicer_to_server,
    )
    from authapi.v1.user_service_pb2_grpc import (
        UserServiceAsyncStub,
        UserServiceServicer,
        UserServiceStub,
        add_UserServiceServicer_to_server,
    )
    from authapi.v1.wechat_service_pb2_grpc import (
        WeChatServiceAsyncStub,
        WeChatServiceServicer,
        WeChatServiceStub,
        add_WeChatServiceServicer_to_server,
    )
else:
    _GRPC_SERVICES = {
        "AuthService": "auth_service_pb2_grpc",
        "KeyService": "key_service_pb2_grpc",
        "RevocationService": "revocation_service_pb2_grpc",
        "SessionService": "session_service_pb2_grpc",
        "UserService": "user_service_pb2_grpc",
        "WeChatService": "wechat_service_pb2_grpc",
    }
    _GRPC_HOMES = {
        name: (home, generated)
        for service, home in _GRPC_SERVICES.items()
        for name, generated in (
            (f"{service}AsyncStub", f"{service}Stub"),
            (f"{service}Stub", f"{service}Stub"),
            (f"{service}Servicer", f"{service}Servicer"),
            (f"add_{service}Servicer_to_server", f"add_{service}Servicer_to_server"),
        )
    }

    def __getattr__(name: str) -> object:
        """Return a gRPC class or function, imported now (PEP 562)."""
        if name not in _GRPC_HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        home, generated = _GRPC_HOMES[name]
        value = getattr(import_module(f"{__name__}.{home}"), generated)
        globals()[name] = value
        return value


ERROR_DOMAIN: Final = "authsvc"
"""The `domain` of every `google.rpc.ErrorInfo` of this service; its `reason` is an `ErrorReason` without prefix."""

__all__ = [
    "ERROR_DOMAIN",
    "Active",
    "AuthServiceAsyncStub",
    "AuthServiceServicer",
    "AuthServiceStub",
    "BatchVerifyTokensRequest",
    "BatchVerifyTokensResponse",
    "BlockUserRequest",
    "BlockUserResponse",
    "Changes",
    "CheckSessionKeyRequest",
    "CheckSessionKeyResponse",
    "CheckUserDataSignatureRequest",
    "CheckUserDataSignatureResponse",
    "ClientInfo",
    "CodeSubject",
    "Cursor",
    "DecryptUserDataRequest",
    "DecryptUserDataResponse",
    "EraseUserRequest",
    "EraseUserResponse",
    "ErrorReason",
    "ExportUserRequest",
    "ExportUserResponse",
    "FindUserRequest",
    "FindUserResponse",
    "GetJwksRequest",
    "GetJwksResponse",
    "GetPhoneNumberRequest",
    "GetPhoneNumberResponse",
    "GetSessionRequest",
    "GetSessionResponse",
    "GetUserRequest",
    "GetUserResponse",
    "GoAway",
    "Heartbeat",
    "Identity",
    "ImportOutcome",
    "ImportUsersRequest",
    "ImportUsersResponse",
    "ImportedUser",
    "Inactive",
    "InactiveReason",
    "KeyServiceAsyncStub",
    "KeyServiceServicer",
    "KeyServiceStub",
    "ListPendingMergesRequest",
    "ListPendingMergesResponse",
    "ListSessionsRequest",
    "ListSessionsResponse",
    "LoginRequest",
    "LoginResponse",
    "MergeUsersRequest",
    "MergeUsersResponse",
    "PackedSessions",
    "PendingMerge",
    "RefreshTokenRequest",
    "RefreshTokenResponse",
    "ResetSessionKeyRequest",
    "ResetSessionKeyResponse",
    "Revocation",
    "RevocationServiceAsyncStub",
    "RevocationServiceServicer",
    "RevocationServiceStub",
    "RevokeRequest",
    "RevokeResponse",
    "RevokeScope",
    "Session",
    "SessionEndReason",
    "SessionServiceAsyncStub",
    "SessionServiceServicer",
    "SessionServiceStub",
    "SetExternalIdRequest",
    "SetExternalIdResponse",
    "SetUserRolesRequest",
    "SetUserRolesResponse",
    "SnapshotPart",
    "SplitUserRequest",
    "SplitUserResponse",
    "TokenPair",
    "UnblockUserRequest",
    "UnblockUserResponse",
    "UnionIdentity",
    "User",
    "UserBlock",
    "UserServiceAsyncStub",
    "UserServiceServicer",
    "UserServiceStub",
    "UserTarget",
    "VerifyTokenRequest",
    "VerifyTokenResponse",
    "WatchRevocationsRequest",
    "WatchRevocationsResponse",
    "WeChatServiceAsyncStub",
    "WeChatServiceServicer",
    "WeChatServiceStub",
    "add_AuthServiceServicer_to_server",
    "add_KeyServiceServicer_to_server",
    "add_RevocationServiceServicer_to_server",
    "add_SessionServiceServicer_to_server",
    "add_UserServiceServicer_to_server",
    "add_WeChatServiceServicer_to_server",
]
