"""
The client of WeChat's server API: what a login needs of it, and nothing it could betray.

This package owns the wire to WeChat (`exchange`), the proof that a code is written at most once (`send_once`), the
reading of answers (`replies`), the meaning of error codes (`errcodes`), a breaker per app (`breaker`), what is
configured per app (`settings`) and the client that puts them together (`client`). It implements `ports.WeChat`.

It leaves to the use cases: claims of codes over replicas, joining concurrent logins, and what happens to users. It
may import `ports`, `domain` and `telemetry`. The AppSecret, codes, openids and session keys leave it only towards
WeChat or in the returned `CodeSession`: never in an exception, event or log line.
"""

from authsvc.wechat.client import WeChatClient
from authsvc.wechat.errcodes import UnknownErrcode
from authsvc.wechat.exchange import SANDBOX_HEADER
from authsvc.wechat.settings import OFFICIAL_HOSTS, WeChatApp, WeChatSettings

__all__ = [
    "OFFICIAL_HOSTS",
    "SANDBOX_HEADER",
    "UnknownErrcode",
    "WeChatApp",
    "WeChatClient",
    "WeChatSettings",
]
