"""
What a mini-program client must do about each answer of the edge: CONTRACT.md, column "retry", as scripts.

Statuses, texts and shapes of the replies are the server's own (`authsvc.status`, `authsvc.edge.replies`); what is to be
done about a reason stands in `ACTIONS`, which a test holds to the server's list of reasons.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from authsvc.domain.sessions import EndReason
from authsvc.edge.failures import Refused
from authsvc.edge.replies import error_body
from authsvc.status import BY_REASON

Json = dict[str, Any]
TOKENS = "$TOKENS"
# What the UI is told to do when the client itself may do nothing more.
ACTIONS: Mapping[str, str] = {
    "INVALID_FIELD": "show",
    "LOGIN_CODE_INVALID": "new_code",
    "LOGIN_CODE_USED": "new_code",
    "LOGIN_CODE_SPENT": "new_code",
    "WECHAT_USER_BLOCKED": "show",
    "USER_BLOCKED": "show",
    "WECHAT_THROTTLED": "retry",
    "RATE_LIMITED": "retry",
    "WECHAT_UNAVAILABLE": "retry",
    "STORE_UNAVAILABLE": "retry",
    "NOT_FRESH": "retry",
    "WECHAT_MISCONFIGURED": "show",
    "UNKNOWN_APP": "show",
    "APP_DISABLED": "show",
    "REFRESH_TOKEN_INVALID": "tap",
    "SESSION_ENDED": "tap",
    "PHONE_CODE_INVALID": "new_phone_code",
    "CALLER_UNAUTHENTICATED": "show",
    "CALLER_FORBIDDEN": "show",
    "INTERNAL": "show",
}
# An end that somebody decided stands until the user taps; any other is mended once, silently.
SILENT_ENDS = ("EXPIRED", "REFRESH_STALE", "REFRESH_REUSE", "STORE_RESTORED", "SUPERSEDED", "MERGED")
TAP_ENDS = ("LOGOUT", "REPLACED", "ADMIN", "BLOCKED")
assert {*SILENT_ENDS, *TAP_ENDS} == {reason.name for reason in EndReason if reason}

_LOGIN, _REFRESH = "POST /api/v1/login", "POST /api/v1/refresh"
_LOGOUT, _PHONE, _ORDERS = "POST /api/v1/logout", "POST /api/v1/phone", "GET /orders"
_LATER_S = 60
_LATER = ("WECHAT_THROTTLED", "RATE_LIMITED", "WECHAT_UNAVAILABLE", "STORE_UNAVAILABLE", "NOT_FRESH")
_AT_ONCE = (
    "INVALID_FIELD",
    "WECHAT_USER_BLOCKED",
    "USER_BLOCKED",
    "WECHAT_MISCONFIGURED",
    "UNKNOWN_APP",
    "APP_DISABLED",
    "CALLER_UNAUTHENTICATED",
    "CALLER_FORBIDDEN",
    "INTERNAL",
)


def refusal(reason: str, *, end_reason: str = "", retry_after_s: int = 0) -> Json:
    """The edge's reply for a reason, by its own encoder."""
    refused = Refused(BY_REASON[reason], end_reason=end_reason, retry_after=retry_after_s)
    headers = {"Retry-After": str(retry_after_s)} if retry_after_s else {}
    body = json.loads(error_body(refused, language="en", request_id="req-1"))
    return {"status": refused.http, "headers": headers, "body": body}


def ok(body: Any = TOKENS) -> Json:
    """A 200."""
    return {"status": 200, "headers": {}, "body": body}


def gone(end_reason: str) -> Json:
    """A refresh that is told how its session ended."""
    return refusal("SESSION_ENDED", end_reason=end_reason)


def call(
    name: str,
    exchanges: Sequence[tuple[str, Any]] = (),
    *,
    outcome: Any = "ok",
    stored: str,
    wx_login_calls: int = 0,
    **more: Any,
) -> Json:
    """One call of a script and what must come of it."""
    return {
        "call": name,
        **more,
        "exchanges": [{"request": request, "reply": reply} for request, reply in exchanges],
        "expect": {"outcome": outcome, "wx_login_calls": wx_login_calls, "stored": stored},
    }


def failed(reason: str, **more: Any) -> Json:
    """An outcome that the UI is told."""
    return {"reason": reason, "action": ACTIONS[reason], **more}


def script(name: str, description: str, stored: str, *calls: Json) -> Json:
    """A case."""
    return {"id": name, "description": description, "stored": stored, "calls": list(calls)}


_FETCHED = (_ORDERS, ok({"orders": []}))
_NOT_ACCEPTED = (_ORDERS, refusal("TOKEN_INVALID"))


def logins() -> Iterator[Json]:
    """The first login, and what may come of it."""
    good = call("login", [(_LOGIN, ok())], stored="new", wx_login_calls=1)
    yield script("login", "wx.login, one exchange, stored", "none", good)
    yield script(
        "login-stored", "who is logged in is not logged in again", "fresh", call("login", stored="same")
    )
    yield script("login-parallel", "ten pages log in: one login", "none", {**good, "parallel": 10})
    yield script(
        "login-restart",
        "a login outlives the app",
        "none",
        good,
        call("request", [_FETCHED], stored="same", restart=True),
    )
    for reason in ("LOGIN_CODE_INVALID", "LOGIN_CODE_USED", "LOGIN_CODE_SPENT"):
        bad = (_LOGIN, refusal(reason))
        lower = reason.lower().replace("_", "-")
        twice = call("login", [bad, (_LOGIN, ok())], stored="new", wx_login_calls=2)
        yield script(f"{lower}-once", f"{reason}: a new code, once", "none", twice)
        given_up = call("login", [bad, bad], outcome=failed(reason), stored="none", wx_login_calls=2)
        yield script(f"{lower}-twice", f"{reason} again: that is all", "none", given_up)
    unsent = call(
        "login",
        [(_LOGIN, refusal("WECHAT_UNAVAILABLE", retry_after_s=1)), (_LOGIN, ok())],
        stored="new",
        wx_login_calls=1,
        same_body=[[0, 1]],
    )
    yield script(
        "login-unsent", "nothing was sent to WeChat: the same code again, after the wait", "none", unsent
    )
    for reason in _AT_ONCE:
        refused = call(
            "login", [(_LOGIN, refusal(reason))], outcome=failed(reason), stored="none", wx_login_calls=1
        )
        yield script(f"login-{_slug(reason)}", f"login: {reason}", "none", refused)
    for reason in _LATER:
        later = refusal(reason, retry_after_s=_LATER_S)
        outcome = failed(reason, retry_after_s=_LATER_S)
        waited = call("login", [(_LOGIN, later)], outcome=outcome, stored="none", wx_login_calls=1)
        yield script(
            f"login-{_slug(reason)}-later", f"login: {reason}, a minute's wait is the UI's", "none", waited
        )


def refreshes() -> Iterator[Json]:
    """An access token at its end."""
    renewed = [(_REFRESH, ok()), _FETCHED]
    yield script(
        "request", "a good token is sent as it is", "fresh", call("request", [_FETCHED], stored="same")
    )
    yield script(
        "refresh",
        "an expired token is renewed first",
        "access_expired",
        call("request", renewed, stored="new"),
    )
    yield script(
        "refresh-refused-token",
        "a token that the application refuses is renewed, and the request repeated",
        "fresh",
        call("request", [_NOT_ACCEPTED, *renewed], stored="new"),
    )
    yield script(
        "refresh-refused-twice",
        "refused again: the answer is the caller's",
        "fresh",
        call(
            "request",
            [_NOT_ACCEPTED, (_REFRESH, ok()), _NOT_ACCEPTED],
            outcome={"status": 401},
            stored="new",
        ),
    )
    insufficient = (_ORDERS, refusal("TOKEN_INSUFFICIENT"))
    yield script(
        "forbidden",
        "a token that does not suffice is not renewed for that",
        "fresh",
        call("request", [insufficient], outcome={"status": 403}, stored="same"),
    )
    ten = [(_REFRESH, ok()), *[_FETCHED] * 10]
    yield script(
        "refresh-parallel",
        "ten requests after expiry: one refresh",
        "access_expired",
        call("request", ten, stored="new", parallel=10),
    )
    lost = [(_REFRESH, "lost"), *ten]
    yield script(
        "refresh-parallel-lost",
        "its reply is lost: the same refresh token again, still logged in",
        "access_expired",
        call("request", lost, stored="new", parallel=10, same_body=[[0, 1]]),
    )
    for failure in ("lost", "interrupted"):
        broken = call("request", [(_REFRESH, failure), *renewed], stored="new", same_body=[[0, 1]])
        yield script(
            f"refresh-{failure}",
            f"the reply is {failure}: the same refresh token again",
            "access_expired",
            broken,
        )
    for reason in (*_LATER, "INTERNAL"):
        wait_s = _LATER_S if reason in _LATER else 0
        outcome = failed(reason, retry_after_s=wait_s) if wait_s else failed(reason)
        kept = call(
            "request",
            [(_REFRESH, refusal(reason, retry_after_s=wait_s))],
            outcome=outcome,
            stored="same",
        )
        yield script(
            f"refresh-{_slug(reason)}",
            f"refresh: {reason} says nothing of the session: it is kept",
            "access_expired",
            kept,
        )


def ends() -> Iterator[Json]:
    """Sessions that are over."""
    again = [(_LOGIN, ok()), _FETCHED]
    invalid = (_REFRESH, refusal("REFRESH_TOKEN_INVALID"))
    over = [(f"ended-{_slug(end)}", end, (_REFRESH, gone(end))) for end in SILENT_ENDS]
    for name, what, refused in [*over, ("refresh-token-invalid", "REFRESH_TOKEN_INVALID", invalid)]:
        silent = call("request", [refused, *again], stored="new", wx_login_calls=1)
        yield script(name, f"{what}: one silent login, and the request goes on", "access_expired", silent)
    for end in TAP_ENDS:
        outcome = failed("SESSION_ENDED", end_reason=end)
        told = call("request", [(_REFRESH, gone(end))], outcome=outcome, stored="none")
        quiet = call("request", [], outcome=outcome, stored="none")
        tapped = call("login", [(_LOGIN, ok())], stored="new", wx_login_calls=1)
        yield script(
            f"ended-{_slug(end)}",
            f"{end}: only a tap logs in again; until then nothing is sent, not even after a restart",
            "access_expired",
            told,
            quiet,
            {**quiet, "restart": True},
            tapped,
        )
    expired = (_REFRESH, gone("EXPIRED"))
    ten = [expired, (_LOGIN, ok()), *[_FETCHED] * 10]
    yield script(
        "ended-parallel",
        "ten requests, one silent login",
        "access_expired",
        call("request", ten, stored="new", wx_login_calls=1, parallel=10),
    )
    yield script(
        "ended-twice",
        "ended again right after the silent login: no second one",
        "access_expired",
        call("request", [expired, *again], stored="new", wx_login_calls=1),
        call(
            "request",
            [_NOT_ACCEPTED, expired],
            outcome=failed("SESSION_ENDED", end_reason="EXPIRED"),
            stored="none",
        ),
    )
    for reason in ("USER_BLOCKED", "WECHAT_USER_BLOCKED"):
        blocked = call(
            "request",
            [expired, (_LOGIN, refusal(reason))],
            outcome=failed(reason),
            stored="none",
            wx_login_calls=1,
        )
        yield script(
            f"ended-{_slug(reason)}", f"the silent login is refused with {reason}", "access_expired", blocked
        )


def others() -> Iterator[Json]:
    """Logout and phone number."""
    bye = ok({"ended_sessions": 1})
    yield script(
        "logout",
        "told to the service, forgotten here",
        "fresh",
        call("logout", [(_LOGOUT, bye)], stored="none"),
    )
    yield script(
        "logout-nobody", "nobody is logged in: nothing to tell", "none", call("logout", stored="none")
    )
    lost = call(
        "logout", [(_LOGOUT, "lost")], outcome={"reason": "NETWORK", "action": "retry"}, stored="none"
    )
    yield script("logout-lost", "the service could not be told: the user is out all the same", "fresh", lost)
    number = (_PHONE, ok({"phone_number": "+8613800000000"}))
    yield script("phone", "a phone code is exchanged", "fresh", call("phone", [number], stored="same"))
    yield script(
        "phone-expired-token",
        "with a good token",
        "access_expired",
        call("phone", [(_REFRESH, ok()), number], stored="new"),
    )
    bad = call(
        "phone",
        [(_PHONE, refusal("PHONE_CODE_INVALID"))],
        outcome=failed("PHONE_CODE_INVALID"),
        stored="same",
    )
    yield script("phone-code-invalid", "a bad phone code: another tap on the button", "fresh", bad)


def _slug(name: str) -> str:
    return name.lower().replace("_", "-")
