"""What a generator cannot invent: login codes of the sandbox, and the token that a login gave."""

import itertools
import json
import os
import urllib.request
from typing import Any

import schemathesis

SANDBOX, EDGE, APP = os.environ["FUZZED_SANDBOX"], os.environ["FUZZED_EDGE"], os.environ["FUZZED_APP"]
_NUMBERS = itertools.count()
_CODE_PATHS = {"/api/v1/login", "/api/login"}


def _post(url: str, body: dict[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(  # noqa: S310 - our own servers on loopback
        url, data=json.dumps(body).encode(), headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310
        answer: dict[str, Any] = json.load(response)
    return answer


def _code(user: str) -> str:
    return str(_post(f"{SANDBOX}/sandbox/v1/codes", {"app_id": APP, "user": user})["code"])


@schemathesis.auth(refresh_interval=60)
class Login:
    """A session of somebody whose token no other request ends."""

    def get(self, case: Any, ctx: Any) -> str:
        answer = _post(f"{EDGE}/api/v1/login", {"app_id": APP, "code": _code("alice")})
        return str(answer["access_token"])

    def set(self, case: Any, data: str, ctx: Any) -> None:
        case.headers = {**(case.headers or {}), "Authorization": f"Bearer {data}"}


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Every second sound login brings a code that is really one, so that its links lead somewhere."""
    body = case.body
    if case.path not in _CODE_PATHS or not isinstance(body, dict):
        return
    code = body.get("code")
    if isinstance(code, str) and code and len(code) % 2 and body.get("app_id") in (None, APP):
        body["code"] = _code(f"bob-{next(_NUMBERS)}")
