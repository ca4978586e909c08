"""The OpenAPI 3.1 document of the edge; reasons, statuses and texts come from `authsvc.status`."""

from collections.abc import Iterable
from typing import Any

from authsvc.edge.openapi_schemas import Json, both, error_response, schemas
from authsvc.status import BY_REASON

_STORE = ("STORE_UNAVAILABLE", "INTERNAL")
_CALLER = ("CALLER_UNAUTHENTICATED", "CALLER_FORBIDDEN")
_LOGIN = (
    "INVALID_FIELD",
    "LOGIN_CODE_INVALID",
    "UNKNOWN_APP",
    "APP_DISABLED",
    "WECHAT_USER_BLOCKED",
    "USER_BLOCKED",
    "LOGIN_CODE_USED",
    "LOGIN_CODE_SPENT",
    "WECHAT_THROTTLED",
    "RATE_LIMITED",
    "WECHAT_UNAVAILABLE",
    "WECHAT_MISCONFIGURED",
    *_STORE,
    *_CALLER,
)
_REFRESH = (
    "INVALID_FIELD",
    "REFRESH_TOKEN_INVALID",
    "SESSION_ENDED",
    "USER_BLOCKED",
    "UNKNOWN_APP",
    "APP_DISABLED",
    "RATE_LIMITED",
    *_STORE,
    *_CALLER,
)
_USER = (
    "INVALID_FIELD",
    "TOKEN_INVALID",
    "NOT_FOUND",
    "UNKNOWN_APP",
    "APP_DISABLED",
    "RATE_LIMITED",
    "NOT_FRESH",
    *_STORE,
)
_WECHAT = ("WECHAT_THROTTLED", "WECHAT_UNAVAILABLE", "WECHAT_MISCONFIGURED")


def build_document() -> Json:
    """Return the document; every path and method the application serves is in it, and nothing else."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "authsvc",
            "version": "1",
            "summary": both(
                "WeChat mini-program login for internal services.", "面向内部服务的微信小程序登录。"
            ),
            "description": both(
                "HTTP/1.1 and JSON. A login code is read from the body only, never from a URL. Every error is "
                '`{"error": {…}}`; switch on `reason`, show `message`. Unknown fields are ignored. Bodies up to '
                "64 KiB.",
                'HTTP/1.1 与 JSON。登录 code 只从请求体读取，绝不从 URL 读取。所有错误均为 `{"error": {…}}`：'
                "请按 `reason` 判断，向用户展示 `message`。未知字段会被忽略。请求体不超过 64 KiB。",
            ),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "tags": [
            {"name": "session", "description": both("Log in, refresh, log out.", "登录、刷新、退出。")},
            {"name": "user", "description": both("What WeChat knows of the user.", "微信侧的用户信息。")},
            {"name": "gateway", "description": both("For gateways and verifiers.", "供网关与校验方使用。")},
            {"name": "legacy", "description": both("The shape tutorials taught.", "教程中的旧接口。")},
            {"name": "service", "description": both("Document and health.", "文档与健康检查。")},
        ],
        "paths": _session_paths() | _user_paths() | _account_path() | _gateway_paths() | _service_paths(),
        "components": {
            "schemas": schemas(),
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": both("The access token.", "访问令牌。"),
                }
            },
        },
    }


def _session_paths() -> Json:
    return {
        "/api/v1/login": {
            "post": _operation(
                "login",
                "session",
                both("Log in with a code of wx.login.", "使用 wx.login 的 code 登录。"),
                body="LoginRequest",
                example={"app_id": "wx00000000000000d1", "code": "0a3XyZ", "device_id": "b7c1c2de"},
                answer="LoginResponse",
                reasons=_LOGIN,
                large=True,
                links=("refresh", "logout"),
            )
        },
        "/api/v1/refresh": {
            "post": _operation(
                "refresh",
                "session",
                both(
                    "Exchange the refresh token for its successor; repeats within the grace window are safe.",
                    "用刷新令牌换取新令牌；宽限期内重复请求是安全的。",
                ),
                body="RefreshRequest",
                example={"refresh_token": "wxr1.…"},
                answer="RefreshResponse",
                reasons=_REFRESH,
                large=True,
                links=("refresh", "logout"),
            )
        },
        "/api/v1/logout": {
            "post": _operation(
                "logout",
                "session",
                both(
                    "End the session of the Bearer token, of the refresh token, or of both; 200 also when already dead.",
                    "结束访问令牌和（或）刷新令牌所属的会话；已失效时同样返回 200。",
                ),
                body="LogoutRequest",
                example={"refresh_token": "wxr1.…", "all": False},
                answer="LogoutResponse",
                reasons=("INVALID_FIELD", "RATE_LIMITED", *_STORE, *_CALLER),
                bearer="optional",
                large=True,
            )
        },
        "/api/v1/session": _get_and_head(
            "session",
            "session",
            both("The caller's own session and the token's claims.", "当前会话与令牌声明。"),
            answer="SessionResponse",
            reasons=("TOKEN_INVALID", "TOKEN_INSUFFICIENT", "NOT_FOUND", "NOT_FRESH", *_STORE),
            bearer="required",
        ),
        "/api/login": {
            "post": {
                "operationId": "legacyLogin",
                "tags": ["legacy"],
                "summary": both("Log in to the default app.", "登录默认小程序。"),
                "requestBody": _body("LegacyLoginRequest", {"code": "0a3XyZ"}),
                "responses": {
                    "200": _answer("LegacyLoginResponse"),
                    "400": _legacy_error(
                        both("No code, or WeChat's refusal.", "缺少 code 或微信拒绝。"), "缺少code参数"
                    ),
                    "500": _legacy_error(
                        both("WeChat is unreachable, or our fault.", "无法连接微信或服务内部错误。"),
                        BY_REASON["WECHAT_UNAVAILABLE"].zh,
                    ),
                },
            }
        },
    }


def _user_paths() -> Json:
    return {
        "/api/v1/phone": {
            "post": _operation(
                "phone",
                "user",
                both(
                    "Exchange the code of a getPhoneNumber button for the user's number; a code works once.",
                    "用 getPhoneNumber 按钮的 code 换取用户手机号；code 只能使用一次。",
                ),
                body="PhoneRequest",
                example={"code": "e31968a7"},
                answer="PhoneResponse",
                reasons=("PHONE_CODE_INVALID", *_USER, *_WECHAT),
                bearer="required",
                large=True,
            )
        },
        "/api/v1/user-data/decrypt": {
            "post": _operation(
                "decryptUserData",
                "user",
                both(
                    "Decrypt what wx.getUserInfo and its kin encrypted; log in before asking WeChat for the data.",
                    "解密 wx.getUserInfo 等接口返回的加密数据；请先登录再向微信获取数据。",
                ),
                body="DecryptRequest",
                example={"encrypted_data": "CiyLU1Aw2Kjv…", "iv": "r7BXXKkLb8qrSNn05n0qiA=="},
                answer="DecryptResponse",
                reasons=("USER_DATA_INVALID", "SESSION_KEY_STALE", *_USER),
                bearer="required",
                large=True,
            )
        },
    }


def _account_path() -> Json:
    return {
        "/api/v1/account": {
            "delete": _operation(
                "eraseAccount",
                "user",
                both(
                    "Erase the person to whom a fresh wx.login code belongs. A blocked user cannot.",
                    "抹除新的 wx.login code 所属的用户；被封禁的用户不能自行抹除。",
                ),
                body="AccountRequest",
                example={"app_id": "wx00000000000000d1", "code": "0a3XyZ"},
                answer="LogoutResponse",
                reasons=(*_LOGIN, "NOT_FOUND"),
                large=True,
            )
        },
    }


def _gateway_paths() -> Json:
    parameters = [
        _query("audience", both("The audience to judge against.", "要求的受众。"), "wx00000000000000d1"),
        _query(
            "scope",
            both("Required scopes; repeat or separate by spaces.", "要求的权限范围，可重复或以空格分隔。"),
            "orders",
        ),
        _query(
            "role",
            both("Required roles; repeat or separate by spaces.", "要求的角色，可重复或以空格分隔。"),
            "admin",
        ),
    ]
    verify = _get_and_head(
        "verify",
        "gateway",
        both(
            "Judge the Bearer token (auth_request, forward-auth).",
            "校验令牌（用于 auth_request、forward-auth）。",
        ),
        answer="",
        reasons=("INVALID_FIELD", "TOKEN_INVALID", "TOKEN_INSUFFICIENT", "NOT_FRESH", *_STORE),
        bearer="required",
    )
    for operation in verify.values():
        operation["parameters"] = parameters
        operation["responses"]["200"] = {
            "description": both("The token is good; no body.", "令牌有效，无响应体。"),
            "headers": {
                name: {"schema": {"type": "string"}}
                for name in ("x-auth-user", "x-auth-session", "x-auth-app", "x-auth-scopes")
            },
        }
    return {
        "/api/v1/verify": verify,
        "/.well-known/jwks.json": _get_and_head(
            "jwks",
            "gateway",
            both("The public keys (RFC 7517).", "公钥集合（RFC 7517）。"),
            answer="Jwks",
            reasons=_STORE,
        ),
    }


def _service_paths() -> Json:
    def page(name: str, summary: str, content_type: str) -> Json:
        operations = _get_and_head(name, "service", summary, answer="", reasons=())
        for operation in operations.values():
            operation["responses"]["200"] = {
                "description": summary,
                "content": {content_type: {"schema": {"type": "string"}}},
            }
        return operations

    return {
        "/openapi.json": _get_and_head(
            "openapi", "service", both("This document.", "本文档。"), answer="Document", reasons=()
        ),
        "/docs": page("docs", both("This document, to read.", "可阅读的文档页面。"), "text/html"),
        "/docs/docs.css": page("docsStyle", both("Part of /docs.", "/docs 的一部分。"), "text/css"),
        "/docs/docs.js": page("docsScript", both("Part of /docs.", "/docs 的一部分。"), "text/javascript"),
        "/healthz": _get_and_head(
            "healthz", "service", both("The process is alive.", "进程存活。"), answer="Status", reasons=()
        ),
        "/readyz": _get_and_head(
            "readyz",
            "service",
            both("The server behind is serving.", "后端服务可用。"),
            answer="Status",
            reasons=("STORE_UNAVAILABLE",),
        ),
    }


def _get_and_head(
    name: str, tag: str, summary: str, *, answer: str, reasons: Iterable[str], bearer: str = ""
) -> dict[str, Json]:
    return {
        method: _operation(f"{name}{suffix}", tag, summary, answer=answer, reasons=reasons, bearer=bearer)
        for method, suffix in (("get", ""), ("head", "Head"))
    }


def _operation(
    name: str,
    tag: str,
    summary: str,
    *,
    answer: str,
    reasons: Iterable[str],
    body: str = "",
    example: Json | None = None,
    bearer: str = "",
    large: bool = False,
    links: Iterable[str] = (),
) -> Json:
    by_status: dict[int, list[str]] = {}
    for reason in reasons:
        by_status.setdefault(BY_REASON[reason].http, []).append(reason)
    if large:
        by_status[408] = by_status[413] = ["INVALID_FIELD"]
    operation: Json = {
        "operationId": name,
        "tags": [tag],
        "summary": summary,
        "responses": {
            "200": _answer(answer),
            **{str(status): error_response(status, names) for status, names in sorted(by_status.items())},
        },
    }
    if links:
        operation["responses"]["200"]["links"] = {other: _with_refresh_token(other) for other in links}
    if body:
        # Where the Bearer token may say it all, no body is needed.
        operation["requestBody"] = _body(body, example or {}, required=bearer != "optional")
    if bearer:
        operation["security"] = [{"bearer": []}] + ([{}] if bearer == "optional" else [])
    return operation


def _with_refresh_token(operation: str) -> Json:
    """What the refresh token of an answer is good for."""
    return {"operationId": operation, "requestBody": {"refresh_token": "$response.body#/refresh_token"}}


def _body(schema: str, example: Json, *, required: bool = True) -> Json:
    content: Json = {"schema": {"$ref": f"#/components/schemas/{schema}"}, "example": example}
    return {"required": required, "content": {"application/json": content}}


def _answer(schema: str) -> Json:
    if not schema:
        return {"description": "OK"}
    content: Json = {"schema": {"$ref": f"#/components/schemas/{schema}"}}
    return {"description": "OK", "content": {"application/json": content}}


def _legacy_error(description: str, example: str) -> Json:
    content: Json = {"schema": {"$ref": "#/components/schemas/LegacyError"}, "example": {"error": example}}
    return {"description": description, "content": {"application/json": content}}


def _query(name: str, description: str, example: str) -> dict[str, Any]:
    schema = {"type": "string"}
    return {"name": name, "in": "query", "description": description, "schema": schema, "example": example}
