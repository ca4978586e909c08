r"""
What WeChat's answers look like, byte for byte.

Bodies are compact JSON in UTF-8 with ``/`` written as ``\/``; errors say a message with a trace id.
The shapes are those of facts/wechat-api.md section 1.2. When which answer is due is decided elsewhere.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from authsvc.sandbox.needs import Entropy

MARKER_HEADER: Final = "X-Authsvc-Sandbox"
"""Stands on every answer, so that a production client can refuse to talk to a sandbox."""

BOM: Final = b"\xef\xbb\xbf"

MESSAGES: Final[Mapping[int, str]] = {
    -1: "system error",
    40001: "invalid credential, access_token is invalid or not latest",
    40002: "invalid grant_type",
    40003: "invalid openid",
    40013: "invalid appid",
    40014: "invalid access_token",
    40029: "invalid code",
    40097: "invalid args",
    40125: "invalid appsecret",
    40163: "code been used",
    40164: "invalid ip 203.0.113.7 ipv6 ::ffff:203.0.113.7, not in whitelist",
    40226: "code blocked",
    40243: "appsecret has been frozen",
    41001: "access_token missing",
    41002: "appid missing",
    41004: "appsecret missing",
    41008: "missing code",
    42001: "access_token expired",
    42003: "oauth_code time out",
    43001: "require GET method",
    43002: "require POST method",
    45009: "reach max api daily quota limit",
    45011: "api minute-quota reach limit, must slower, retry next minute",
    47001: "data format error",
    48001: "api unauthorized",
    50002: "user limited",
    50004: "forbid to use token interface",
    50007: "account frozen",
    87007: "session_key is not existing or expired",
    87008: "invalid sig_method",
    87009: "invalid signature",
    89002: "open not exists",
    89300: "invalid transaction",
    89503: "this ip needs the administrator's confirmation",
    89506: "this ip was refused by the administrator, try again in 24 hours",
    89507: "this ip was refused by the administrator, try again in 1 hour",
    1000: "system error",
    1001: "bad request",
    1003: "too frequent",
    1005: "appid not match",
    1007: "no data",
    1022: "bad json",
}


@dataclass(frozen=True, slots=True)
class Reply:
    """
    One answer before it is delivered. The body may hold a session_key and stays out of ``repr``.
    """

    body: bytes = field(repr=False)
    status: int = 200
    content_type: str = "text/plain"
    headers: Mapping[str, str] = field(default_factory=dict)


def encode(fields: Mapping[str, object]) -> bytes:
    """
    The fields as WeChat writes JSON.
    """
    text = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
    # A slash occurs in JSON only inside strings, where the escape means the same character.
    return text.replace("/", "\\/").encode()


def error_fields(
    errcode: int,
    *,
    now: datetime,
    entropy: Entropy,
    joint: str = ", ",
    quoted: bool = False,
    old_hints: bool = False,
) -> dict[str, object]:
    """
    The fields of a business error. ``joint`` stands before the rid, whose first group is the Unix time of
    the call; ``quoted`` writes the number as a string; ``old_hints`` uses the suffix of before 2020.
    """
    trace = entropy.token_bytes(8).hex()
    message = MESSAGES.get(errcode, "unknown error")
    if old_hints:
        message += f", hints: [ req_id: {trace[:12]} ]"
    else:
        message += f"{joint}rid: {int(now.timestamp()):08x}-{trace[:8]}-{trace[8:]}"
    return {"errcode": str(errcode) if quoted else errcode, "errmsg": message}


def gateway_page(status: int) -> Reply:
    """
    The HTML a gateway in front of WeChat answers when it is in trouble itself.
    """
    title = {502: "Bad Gateway", 503: "Service Temporarily Unavailable", 504: "Gateway Time-out"}
    heading = f"{status} {title.get(status, 'Internal Server Error')}"
    page = (
        f"<html>\r\n<head><title>{heading}</title></head>\r\n<body>\r\n"
        f"<center><h1>{heading}</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
    )
    return Reply(page.encode(), status=status, content_type="text/html")


_GBK_PAGE: Final = (
    "<html><head><title>系统繁忙</title></head><body>系统繁忙，请稍后再试</body></html>"
).encode("gbk")
GBK: Final = Reply(_GBK_PAGE, content_type="text/html; charset=gbk")
"""A page in GBK with status 200: no JSON, and no UTF-8 either."""

EMPTY: Final = Reply(b"", content_type="text/html; charset=gbk")
"""The empty body once seen for a junk app id (facts/wechat-api.md section 1.2)."""
