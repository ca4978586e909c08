"""
The client of WeChat's server API: what logins, phone numbers and sessions need of it, and nothing it could betray.

This package owns the wire to WeChat (`exchange`, `wire`), the proof that a code is written at most once
(`send_once`), the reading of answers (`replies`, `api_replies`), the meaning of error codes (`errcodes`), a breaker
and slots per app and kind of call (`breaker`, `lane`), what is configured per app (`settings`), its two secrets
(`app_secrets`, `rotation`), its access_token (`access_token`, `token_sources`), the calls themselves (`login`,
`api`), the client that puts them together (`line`, `client`), and the cipher of user data (`user_data`). It
implements `ports.WeChat` and `ports.DecryptUserData`.

It leaves to the use cases: claims of codes over replicas, joining concurrent logins, and what happens to users. It
may import `ports`, `domain` and `telemetry`. AppSecrets, access_tokens, codes, openids, phone numbers and session
keys leave it only towards WeChat or in returned values: never in an exception, event or log line.
"""

from authsvc.wechat.client import WeChatClient
from authsvc.wechat.errcodes import UnknownErrcode
from authsvc.wechat.exchange import SANDBOX_HEADER
from authsvc.wechat.settings import (
    OFFICIAL_HOSTS,
    TokenCommand,
    TokenSource,
    TokenUrl,
    WeChatApp,
    WeChatSettings,
)
from authsvc.wechat.user_data import decrypt_user_data

__all__ = [
    "OFFICIAL_HOSTS",
    "SANDBOX_HEADER",
    "TokenCommand",
    "TokenSource",
    "TokenUrl",
    "UnknownErrcode",
    "WeChatApp",
    "WeChatClient",
    "WeChatSettings",
    "decrypt_user_data",
]
