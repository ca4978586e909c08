"""The reusable parts of the OpenAPI document: what bodies look like, and every error the edge can answer."""

from collections.abc import Iterable, Mapping
from typing import Any

from authsvc.status import BY_REASON

Json = dict[str, Any]

_SECONDS = "whole seconds / 整秒"
_UNIX = "unix time in whole seconds / Unix 时间（秒）"


def both(en: str, zh: str) -> str:
    """Return a description in both languages, the form `docs.js` takes apart."""
    return f"{en} / {zh}"


def _text(description: str, example: str, **more: Any) -> Json:
    return {"type": "string", "description": description, "examples": [example], **more}


def _number(description: str, example: int) -> Json:
    return {"type": "integer", "description": description, "examples": [example]}


def _object(properties: Mapping[str, Json], *, required: Iterable[str] = ()) -> Json:
    return {"type": "object", "properties": dict(properties), "required": list(required)}


def _asked(properties: Mapping[str, Json], *, required: Iterable[str] = ()) -> Json:
    """Return the schema of a request: what it needs is not empty, and what it may leave out may also be null."""
    needed = set(required)
    return _object(
        {
            name: {**schema, "minLength": 1}
            if name in needed
            else {**schema, "type": [schema["type"], "null"]}
            for name, schema in properties.items()
        },
        required=required,
    )


_IDS: Mapping[str, Json] = {
    "user_id": _text(both("Our id of the user.", "本服务的用户 ID。"), "3q2-7wAAQACAAAAAAAAAAQ"),
    "session_id": _text(both("Id of the session.", "会话 ID。"), "mJ8x3r5bT0yV0o3l8k1dGg"),
    "app_id": _text(both("The mini-program's app id.", "小程序 AppID。"), "wx00000000000000d1"),
}
_TOKENS: Mapping[str, Json] = {
    "access_token": _text(
        both("JWT; send it as `Authorization: Bearer`.", "JWT，放入 `Authorization: Bearer` 请求头。"), "eyJ…"
    ),
    "expires_in": _number(
        both("How long the access token is good for", "访问令牌有效期") + f", {_SECONDS}", 7100
    ),
    "refresh_token": _text(
        both("Good for one refresh; persist the newest before use.", "仅可使用一次；使用前请先保存最新值。"),
        "wxr1.…",
    ),
    "refresh_expires_in": _number(
        both("How long the refresh token is good for", "刷新令牌有效期") + f", {_SECONDS}", 604800
    ),
    "server_time": _number(both("The server's clock", "服务器时间") + f", {_UNIX}", 1767225600),
}
_PREVIOUS: Json = {
    "type": "array",
    "items": {"type": "string"},
    "description": both("Ids of users merged into this one.", "已合并到该用户的旧用户 ID。"),
}
_DEVICE: Mapping[str, Json] = {
    "device_id": _text(
        both(
            "Stable id of the device; a new login of it replaces its older session.",
            "设备的固定标识；同一设备再次登录会替换旧会话。",
        ),
        "b7c1c2de",
        maxLength=128,
    ),
    "device_name": _text(
        both("Name for people to read.", "便于识别的设备名称。"), "iPhone 15", maxLength=128
    ),
}
_CODE = _text(both("The code of wx.login, unchanged.", "wx.login 返回的 code，原样传入。"), "0a3Xy…")

_PHONE_CODE = _text(
    both("The code of a getPhoneNumber button.", "getPhoneNumber 按钮返回的 code。"), "e31968a7"
)


def reason_names() -> list[str]:
    """Return every reason the edge's errors can name."""
    return sorted(BY_REASON)


def schemas() -> Json:
    """Return `components.schemas`."""
    return {
        "LoginRequest": _asked(
            {
                "app_id": _IDS["app_id"]
                | {
                    "description": both(
                        "The mini-program's app id; may be left out where the service has a default app.",
                        "小程序 AppID；服务配置了默认小程序时可省略。",
                    )
                },
                "code": _CODE,
                "legacy_token": _text(
                    both(
                        "In the place of `code`: a token of the home-made service that the app is migrated from, "
                        "exchanged once.",
                        "代替 `code`：迁移前自建服务签发的令牌，每个只能换取一次会话。",
                    ),
                    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.…",
                ),
                **_DEVICE,
                "phone_code": _PHONE_CODE,
            },
            required=[],
        )
        | {
            "oneOf": [
                {"required": [name], "properties": {name: {"type": "string", "minLength": 1}}}
                for name in ("code", "legacy_token")
            ]
        },
        "LoginResponse": _object(
            {
                "user_id": _IDS["user_id"],
                "session_id": _IDS["session_id"],
                "openid": _text(
                    both("WeChat's id of the user in this app.", "用户在该小程序的 openid。"), "oUpF8u…"
                ),
                "unionid": _text(both("Where WeChat tells it.", "微信返回时才有。"), "o6_bmj…"),
                **_TOKENS,
                "is_new_user": {
                    "type": "boolean",
                    "description": both("True if this login created the user.", "本次登录是否新建了用户。"),
                },
                "previous_user_ids": _PREVIOUS,
                "external_id": _text(
                    both("Another system's id, if set.", "外部系统 ID（如已设置）。"), "crm-42"
                ),
                "phone_number": _text(
                    both("If a phone_code was exchanged.", "phone_code 换取成功时才有。"), "13800000000"
                ),
                "phone_error": _text(
                    both(
                        "Why the phone_code gave no number; the login stands.",
                        "未取得手机号的原因；登录仍然成功。",
                    ),
                    "PHONE_CODE_INVALID",
                ),
            },
            required=["user_id", "session_id", "openid", *_TOKENS, "is_new_user"],
        ),
        "RefreshRequest": _asked(
            {"refresh_token": _TOKENS["refresh_token"], **_DEVICE}, required=["refresh_token"]
        ),
        "RefreshResponse": _object(
            {
                "user_id": _IDS["user_id"],
                "session_id": _IDS["session_id"],
                **_TOKENS,
                "previous_user_ids": _PREVIOUS,
            },
            required=["user_id", "session_id", *_TOKENS],
        ),
        "LogoutRequest": _asked(
            {
                "refresh_token": _TOKENS["refresh_token"],
                "all": {
                    "type": "boolean",
                    "description": both("End every session of the user.", "结束该用户的所有会话。"),
                },
            }
        ),
        "LogoutResponse": _object(
            {"ended_sessions": _number(both("How many sessions ended now.", "本次结束的会话数。"), 1)},
            required=["ended_sessions"],
        ),
        "AccountRequest": _asked(
            {"app_id": _IDS["app_id"], "code": _CODE},
            required=["code"],
        ),
        "PhoneRequest": _asked({"code": _PHONE_CODE}, required=["code"]),
        "PhoneResponse": _object(
            {
                "phone_number": _text(
                    both(
                        "As WeChat writes it; a number outside China has its country code in front.",
                        "微信给出的写法；境外号码带国家代码。",
                    ),
                    "13800000000",
                ),
                "pure_phone_number": _text(both("Without country code.", "不含国家代码。"), "13800000000"),
                "country_code": _text(both("Digits only.", "仅数字。"), "86"),
                "bound": {
                    "type": "boolean",
                    "description": both(
                        "True if the number is now kept with the user.", "该号码是否已与用户一起保存。"
                    ),
                },
            },
            required=["phone_number", "pure_phone_number", "country_code", "bound"],
        ),
        "DecryptRequest": _asked(
            {
                "encrypted_data": _text(
                    both("encryptedData, exactly as received.", "原样传入 encryptedData。"), "CiyLU1Aw2Kjv…"
                ),
                "iv": _text(both("iv, exactly as received.", "原样传入 iv。"), "r7BXXKkLb8qrSNn05n0qiA=="),
            },
            required=["encrypted_data", "iv"],
        ),
        "DecryptResponse": _object(
            {
                "user_data": {
                    "type": "object",
                    "description": both(
                        "The object that WeChat encrypted, watermark included.",
                        "微信加密的对象，含 watermark。",
                    ),
                    "examples": [
                        {"openId": "oGZUI0…", "watermark": {"timestamp": 1477314187, "appid": "wx…"}}
                    ],
                },
                "encrypted_at": _number(
                    both("By the watermark", "取自 watermark") + f", {_UNIX}", 1477314187
                ),
            },
            required=["user_data"],
        ),
        "SessionResponse": _object(
            {
                "session": {"$ref": "#/components/schemas/Session"},
                "claims": {"$ref": "#/components/schemas/Claims"},
            },
            required=["session", "claims"],
        ),
        "Session": _object(
            {
                **_IDS,
                "created_at": _number(_UNIX, 1767225600),
                "last_refreshed_at": _number(_UNIX, 1767225600),
                "expires_at": _number(_UNIX, 1767830400),
                "live": {"type": "boolean", "description": both("Can still be refreshed.", "仍可刷新。")},
                "ip": _text(both("Address at login.", "登录时的地址。"), "203.0.113.7"),
                "user_agent": _text(both("User agent at login.", "登录时的 User-Agent。"), "MicroMessenger"),
                **_DEVICE,
            },
            required=[*_IDS, "created_at", "last_refreshed_at", "expires_at", "live"],
        ),
        "Claims": _object(
            {
                **_IDS,
                "openid": _text(both("Where the token carries it.", "令牌包含时才有。"), "oUpF8u…"),
                **{
                    name: {"type": "array", "items": {"type": "string"}}
                    for name in ("scopes", "roles", "audiences")
                },
                "token_id": _text(both("The claim jti.", "令牌的 jti。"), "Qk2vX0m1TQeJ0y3p1t7n2A"),
                "issued_at": _number(_UNIX, 1767225600),
                "expires_at": _number(_UNIX, 1767232700),
                "previous_user_ids": _PREVIOUS,
                "external_id": _text(
                    both("Another system's id, if set.", "外部系统 ID（如已设置）。"), "crm-42"
                ),
            },
            required=[*_IDS, "scopes", "roles", "audiences", "token_id", "issued_at", "expires_at"],
        ),
        "LegacyLoginRequest": _asked({"code": _CODE}, required=["code"]),
        "LegacyLoginResponse": _object(
            {"openid": {"type": "string"}, "token": {"type": "string"}}, required=["openid", "token"]
        ),
        "LegacyError": _object({"error": {"type": "string"}}, required=["error"]),
        "Jwks": _object({"keys": {"type": "array", "items": {"type": "object"}}}, required=["keys"]),
        "Status": _object({"status": {"type": "string"}}, required=["status"]),
        "Document": {"type": "object"},
        "Error": _object(
            {
                "error": _object(
                    {
                        "code": _text(
                            both("gRPC status code by name.", "gRPC 状态码名称。"), "UNAUTHENTICATED"
                        ),
                        "reason": _text(
                            both(
                                "Switch on this; unknown values are handled by the HTTP status.",
                                "请按此字段判断；未知取值按 HTTP 状态处理。",
                            ),
                            "SESSION_ENDED",
                            **{"x-known-values": reason_names()},
                        ),
                        "message": _text(
                            both(
                                "For people, by Accept-Language.",
                                "供阅读的文字，语言取决于 Accept-Language。",
                            ),
                            BY_REASON["SESSION_ENDED"].zh,
                        ),
                        "request_id": _text(both("Quote it when you ask.", "反馈问题时请提供。"), "5f0c9a…"),
                        "end_reason": _text(
                            both(
                                "With SESSION_ENDED. Log in again silently after EXPIRED, REFRESH_STALE, "
                                "REFRESH_REUSE, STORE_RESTORED, SUPERSEDED, MERGED; at a tap after LOGOUT, "
                                "REPLACED, ADMIN, BLOCKED.",
                                "仅 SESSION_ENDED。EXPIRED、REFRESH_STALE、REFRESH_REUSE、STORE_RESTORED、"
                                "SUPERSEDED、MERGED 可静默重新登录；LOGOUT、REPLACED、ADMIN、BLOCKED 需用户点击。",
                            ),
                            "REFRESH_STALE",
                        ),
                        "fields": {
                            "type": "object",
                            "additionalProperties": {"type": "string"},
                            "description": both(
                                "With INVALID_FIELD: what is wrong where.", "仅 INVALID_FIELD：出错的字段。"
                            ),
                        },
                    },
                    required=["code", "reason", "message", "request_id"],
                )
            },
            required=["error"],
        ),
    }


def error_response(status: int, reasons: Iterable[str]) -> Json:
    """Return a response object for *status*, with one example per reason."""
    names = list(reasons)
    examples = {
        name: {
            "value": {
                "error": {
                    "code": BY_REASON[name].code.name,
                    "reason": name,
                    "message": BY_REASON[name].zh,
                    "request_id": "5f0c9a4e",
                    **({"end_reason": "REFRESH_STALE"} if name == "SESSION_ENDED" else {}),
                    **({"fields": {"code": "is required"}} if name == "INVALID_FIELD" else {}),
                }
            },
            "summary": both(BY_REASON[name].en, BY_REASON[name].zh),
        }
        for name in names
    }
    response: Json = {
        "description": ", ".join(names),
        "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/Error"}, "examples": examples}
        },
    }
    if status in {429, 503}:
        response["headers"] = {
            "Retry-After": {
                "schema": {"type": "integer"},
                "description": both("Seconds to wait, where waiting helps.", "建议等待的秒数。"),
            }
        }
    return response
