"""
The one table: domain error → reason, gRPC code, HTTP status, public text in English and 简体中文.

CONTRACT.md ("Reasons → gRPC code → HTTP") is its source; tests prove that the exception tree, this table and the
proto enum `ErrorReason` name the same things. Public texts say what the reader can do and nothing of our insides.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType

from authsvc.domain import errors


class Code(IntEnum):
    """gRPC status codes by their numbers, so that this table needs no gRPC library."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    UNAUTHENTICATED = 16


@dataclass(frozen=True, slots=True)
class Row:
    """One row: what every transport makes of one reason."""

    reason: str
    code: Code
    http: int
    en: str
    zh: str

    def text(self, language: str) -> str:
        """Return the public text; *language* is `zh` or `en`."""
        return self.zh if language == "zh" else self.en


_NEW_CODE_EN = "Call wx.login again and retry with the new code."
_NEW_CODE_ZH = "请重新调用 wx.login 获取新的 code 后重试。"

INTERNAL = Row(
    "INTERNAL", Code.INTERNAL, 500, "Something went wrong on our side.", "服务内部错误，请稍后再试。"
)

_ROWS: dict[type[errors.AuthError], Row] = {
    errors.InvalidField: Row(
        "INVALID_FIELD", Code.INVALID_ARGUMENT, 400, "The request is not valid.", "请求参数不正确。"
    ),
    errors.LoginCodeInvalid: Row(
        "LOGIN_CODE_INVALID",
        Code.INVALID_ARGUMENT,
        400,
        f"The login code is invalid or has expired. {_NEW_CODE_EN}",
        f"登录 code 无效或已过期。{_NEW_CODE_ZH}",
    ),
    errors.LoginCodeUsed: Row(
        "LOGIN_CODE_USED",
        Code.ABORTED,
        409,
        f"The login code has been used already. {_NEW_CODE_EN}",
        f"登录 code 已被使用。{_NEW_CODE_ZH}",
    ),
    errors.LoginCodeSpent: Row(
        "LOGIN_CODE_SPENT",
        Code.ABORTED,
        409,
        f"WeChat received the login code but its answer was lost. {_NEW_CODE_EN}",
        f"登录 code 已发送给微信，但结果未知。{_NEW_CODE_ZH}",
    ),
    errors.WeChatUserBlocked: Row(
        "WECHAT_USER_BLOCKED",
        Code.PERMISSION_DENIED,
        403,
        "WeChat does not allow this account to log in.",
        "微信限制该账号登录。",
    ),
    errors.UserBlocked: Row(
        "USER_BLOCKED", Code.PERMISSION_DENIED, 403, "This account has been blocked.", "该账号已被停用。"
    ),
    errors.WeChatThrottled: Row(
        "WECHAT_THROTTLED",
        Code.RESOURCE_EXHAUSTED,
        429,
        "WeChat asks to slow down. Wait, then try again; a login needs a new code.",
        "微信接口调用过于频繁，请稍后再试；登录需重新获取 code。",
    ),
    errors.RateLimited: Row(
        "RATE_LIMITED",
        Code.RESOURCE_EXHAUSTED,
        429,
        "Too many requests. Wait a moment.",
        "请求过于频繁，请稍后再试。",
    ),
    errors.WeChatUnavailable: Row(
        "WECHAT_UNAVAILABLE",
        Code.UNAVAILABLE,
        503,
        "WeChat cannot be reached right now. Try again in a moment.",
        "暂时无法连接微信，请稍后重试。",
    ),
    errors.StoreUnavailable: Row(
        "STORE_UNAVAILABLE",
        Code.UNAVAILABLE,
        503,
        "The service is temporarily unavailable. Try again.",
        "服务暂时不可用，请稍后重试。",
    ),
    errors.NotFresh: Row(
        "NOT_FRESH",
        Code.UNAVAILABLE,
        503,
        "The service cannot decide right now. Try again.",
        "服务暂时无法确认登录状态，请稍后重试。",
    ),
    errors.WeChatMisconfigured: Row(
        "WECHAT_MISCONFIGURED",
        Code.FAILED_PRECONDITION,
        503,
        "WeChat does not serve this app right now.",
        "微信暂时无法为该小程序提供服务。",
    ),
    errors.UnknownApp: Row(
        "UNKNOWN_APP", Code.FAILED_PRECONDITION, 400, "This app is not known here.", "未知的小程序。"
    ),
    errors.AppDisabled: Row(
        "APP_DISABLED", Code.FAILED_PRECONDITION, 400, "This app is switched off.", "该小程序已停用。"
    ),
    errors.RefreshTokenInvalid: Row(
        "REFRESH_TOKEN_INVALID",
        Code.UNAUTHENTICATED,
        401,
        "The refresh token is not valid. Log in again.",
        "刷新令牌无效，请重新登录。",
    ),
    errors.SessionEnded: Row(
        "SESSION_ENDED",
        Code.UNAUTHENTICATED,
        401,
        "The session has ended. Log in again.",
        "登录已失效，请重新登录。",
    ),
    errors.TokenInvalid: Row(
        "TOKEN_INVALID", Code.UNAUTHENTICATED, 401, "The access token is not valid.", "访问令牌无效或已过期。"
    ),
    errors.TokenInsufficient: Row(
        "TOKEN_INSUFFICIENT",
        Code.PERMISSION_DENIED,
        403,
        "The access token does not allow this.",
        "访问令牌权限不足。",
    ),
    errors.PhoneCodeInvalid: Row(
        "PHONE_CODE_INVALID",
        Code.INVALID_ARGUMENT,
        400,
        "The phone code is invalid or has expired. Ask for a new one.",
        "手机号 code 无效或已过期，请重新获取。",
    ),
    errors.CallerUnauthenticated: Row(
        "CALLER_UNAUTHENTICATED",
        Code.UNAUTHENTICATED,
        401,
        "The calling service is not authenticated.",
        "调用方未通过身份验证。",
    ),
    errors.CallerForbidden: Row(
        "CALLER_FORBIDDEN",
        Code.PERMISSION_DENIED,
        403,
        "The calling service may not do this.",
        "调用方无权执行此操作。",
    ),
    errors.SessionKeyStale: Row(
        "SESSION_KEY_STALE",
        Code.FAILED_PRECONDITION,
        409,
        "The session key has changed. Call wx.login first, then fetch the data again.",
        "session_key 已失效，请先调用 wx.login 再重新获取数据。",
    ),
    errors.UserDataInvalid: Row(
        "USER_DATA_INVALID",
        Code.INVALID_ARGUMENT,
        400,
        "The user data cannot be read.",
        "用户数据无法解密或校验失败。",
    ),
    errors.NotFound: Row(
        "NOT_FOUND", Code.NOT_FOUND, 404, "There is no such thing here.", "请求的对象不存在。"
    ),
    errors.ExternalIdTaken: Row(
        "EXTERNAL_ID_TAKEN",
        Code.ALREADY_EXISTS,
        409,
        "Another user has this external id.",
        "该外部用户 ID 已属于其他用户。",
    ),
    errors.MergeImpossible: Row(
        "MERGE_IMPOSSIBLE",
        Code.FAILED_PRECONDITION,
        409,
        "These users cannot be merged or split.",
        "无法合并或拆分这两个用户。",
    ),
    errors.CursorExpired: Row(
        "CURSOR_EXPIRED",
        Code.OUT_OF_RANGE,
        410,
        "The cursor is too old. Start again from a snapshot.",
        "游标已过期，请重新获取快照。",
    ),
    errors.WatcherTooSlow: Row(
        "WATCHER_TOO_SLOW",
        Code.RESOURCE_EXHAUSTED,
        429,
        "The stream was read too slowly. Resume from the last cursor.",
        "订阅读取过慢，请从上次的游标继续。",
    ),
}

TABLE: Mapping[type[errors.AuthError], Row] = MappingProxyType(_ROWS)
BY_REASON: Mapping[str, Row] = MappingProxyType({row.reason: row for row in (*_ROWS.values(), INTERNAL)})


def row_for(error: BaseException) -> Row:
    """Return the error's row; anything that is not one of ours is INTERNAL."""
    for kind in type(error).__mro__:
        row = TABLE.get(kind)
        if row is not None:
            return row
    return INTERNAL
