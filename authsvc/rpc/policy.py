"""
One row per RPC: who may call it (down to the oneof case), its deadline cap, whether it is idempotent.

No row = refused. DESIGN section 9 is the source of the roles; a test compares this table with the contract's own
comments and with every method that the server registers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from types import MappingProxyType

from authsvc.domain.errors import AuthError, LoginCodeSpent, StoreUnavailable, WeChatUnavailable
from authsvc.domain.principals import Role
from authsvc.rpc.reach import Audiences, Extent, Named, Reach

_EDGE, _VERIFIER, _REVOKER, _OPERATOR = Role.EDGE, Role.VERIFIER, Role.REVOKER, Role.OPERATOR
_USERDATA, _USERS = Role.USERDATA, Role.USERS
# Above what a call to WeChat may take with its retries: this cap is a safety net.
_WECHAT_DEADLINE = timedelta(seconds=15)
# A thousand records in one transaction.
_IMPORT_DEADLINE = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Policy:
    """
    What holds for one RPC.

    `roles` None means anybody, even unidentified. `oneof` names the request's oneof whose `cases` narrow the roles;
    a request without a case is INVALID_FIELD. `deadline` bounds the handler; None where it cannot wait for long.
    `cut_off` is what a caller is told then, when nobody knows what became of its call.

    `reach` is what of the apps a request touches, `reaches` the same by case where cases differ, and `audiences` are
    those it asks about: for callers that are limited to some.
    """

    roles: frozenset[Role] | None
    deadline: timedelta | None = timedelta(seconds=10)
    idempotent: bool = True
    oneof: str = ""
    cases: Mapping[str, frozenset[Role]] = field(default_factory=lambda: MappingProxyType({}))
    cut_off: type[AuthError] = StoreUnavailable
    reach: Reach = Extent.EVERYTHING
    reaches: Mapping[str, Reach] = field(default_factory=lambda: MappingProxyType({}))
    audiences: Audiences | None = None


def _roles(*roles: Role) -> frozenset[Role]:
    return frozenset(roles)


def _of_user(*more: Role, asks_wechat: bool = False, idempotent: bool = True) -> Policy:
    """Return the row of an RPC about one user: *more* name the user by an access token, services also by id."""
    services = _roles(_USERDATA, _OPERATOR)
    return Policy(
        services.union(more),
        _WECHAT_DEADLINE if asks_wechat else timedelta(seconds=10),
        idempotent=idempotent,
        cut_off=WeChatUnavailable if asks_wechat else StoreUnavailable,
        oneof="subject",
        cases=MappingProxyType({"access_token": services.union(more), "user": services}),
        reaches=MappingProxyType({"access_token": Extent.HELD, "user": Named("user.app_id")}),
    )


def _of_users(
    oneof: str = "",
    *cases: str,
    deadline: timedelta = timedelta(seconds=10),
    reach: Reach = Extent.EVERYTHING,
) -> Policy:
    """Return the row of an RPC about persons, the same roles for every case."""
    allowed = _roles(_USERS, _OPERATOR)
    return Policy(
        allowed, deadline, oneof=oneof, cases=MappingProxyType(dict.fromkeys(cases, allowed)), reach=reach
    )


POLICIES: Mapping[str, Policy] = MappingProxyType(
    {
        "/authapi.v1.AuthService/Login": Policy(
            _roles(_EDGE),
            _WECHAT_DEADLINE,
            idempotent=False,
            oneof="credential",
            cases=MappingProxyType({"mini_program_code": _roles(_EDGE), "legacy_token": _roles(_EDGE)}),
            cut_off=LoginCodeSpent,
            reach=Named("app_id"),
        ),
        "/authapi.v1.AuthService/RefreshToken": Policy(_roles(_EDGE), reach=Extent.HELD),
        "/authapi.v1.AuthService/VerifyToken": Policy(
            _roles(_EDGE, _VERIFIER, _OPERATOR),
            None,
            reach=Extent.HELD,
            audiences=lambda request: (request.audience,),
        ),
        "/authapi.v1.AuthService/BatchVerifyTokens": Policy(
            _roles(_EDGE, _VERIFIER, _OPERATOR),
            None,
            reach=Extent.HELD,
            audiences=lambda request: {one.audience for one in request.requests},
        ),
        "/authapi.v1.AuthService/Revoke": Policy(
            _roles(_EDGE, _REVOKER, _OPERATOR),
            oneof="target",
            cases=MappingProxyType(
                {
                    "access_token": _roles(_EDGE, _REVOKER, _OPERATOR),
                    "refresh_token": _roles(_EDGE, _REVOKER, _OPERATOR),
                    "session_id": _roles(_REVOKER, _OPERATOR),
                    "user": _roles(_REVOKER, _OPERATOR),
                    "app_id": _roles(_REVOKER, _OPERATOR),
                }
            ),
            reach=Extent.HELD,
            reaches=MappingProxyType({"user": Named("user.app_id"), "app_id": Named("app_id")}),
        ),
        "/authapi.v1.SessionService/GetSession": Policy(
            _roles(_EDGE, _OPERATOR),
            oneof="target",
            cases=MappingProxyType(
                {"session_id": _roles(_OPERATOR), "access_token": _roles(_EDGE, _OPERATOR)}
            ),
            reach=Extent.HELD,
        ),
        "/authapi.v1.SessionService/ListSessions": Policy(_roles(_OPERATOR), reach=Named("app_id")),
        "/authapi.v1.KeyService/GetJwks": Policy(_roles(_EDGE, _VERIFIER, _OPERATOR), reach=Extent.NOTHING),
        "/authapi.v1.RevocationService/WatchRevocations": Policy(
            _roles(_EDGE, _VERIFIER, _OPERATOR), None, reach=Extent.NOTHING
        ),
        "/authapi.v1.WeChatService/DecryptUserData": _of_user(_EDGE),
        "/authapi.v1.WeChatService/CheckUserDataSignature": _of_user(),
        "/authapi.v1.WeChatService/GetPhoneNumber": _of_user(_EDGE, asks_wechat=True, idempotent=False),
        "/authapi.v1.WeChatService/CheckSessionKey": _of_user(asks_wechat=True),
        "/authapi.v1.WeChatService/ResetSessionKey": _of_user(asks_wechat=True, idempotent=False),
        "/authapi.v1.UserService/GetUser": _of_users(),
        "/authapi.v1.UserService/FindUser": _of_users(
            "key", "identity", "union_identity", "external_id", "phone_number"
        ),
        "/authapi.v1.UserService/BlockUser": _of_users(),
        "/authapi.v1.UserService/UnblockUser": _of_users(),
        "/authapi.v1.UserService/SetUserRoles": _of_users(),
        "/authapi.v1.UserService/SetExternalId": _of_users(),
        "/authapi.v1.UserService/MergeUsers": _of_users(),
        "/authapi.v1.UserService/SplitUser": _of_users(),
        "/authapi.v1.UserService/ListPendingMerges": _of_users(),
        # Unionids and external ids belong to persons, who may live in other apps too.
        "/authapi.v1.UserService/ImportUsers": _of_users(deadline=_IMPORT_DEADLINE),
        "/authapi.v1.UserService/ExportUser": _of_users(),
        "/authapi.v1.UserService/EraseUser": Policy(
            _roles(_EDGE, _USERS, _OPERATOR),
            _WECHAT_DEADLINE,
            idempotent=False,
            oneof="subject",
            cases=MappingProxyType(
                {"user_id": _roles(_USERS, _OPERATOR), "code": _roles(_EDGE, _USERS, _OPERATOR)}
            ),
            cut_off=LoginCodeSpent,
            reaches=MappingProxyType({"code": Named("code.app_id")}),
        ),
        "/grpc.health.v1.Health/Check": Policy(None, reach=Extent.NOTHING),
        "/grpc.health.v1.Health/Watch": Policy(None, None, reach=Extent.NOTHING),
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": Policy(
            _roles(_OPERATOR), None, reach=Extent.NOTHING
        ),
    }
)
