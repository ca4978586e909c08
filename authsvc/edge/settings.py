"""What an operator may choose about the edge. Reading it from anywhere is not here."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_network

from authsvc.domain.limits import Rate
from authsvc.domain.web_origins import is_web_origin

_ZERO = timedelta(0)


@dataclass(frozen=True, slots=True)
class EdgeSettings:
    """
    Limits and defaults of one edge.

    `default_app` is the app of a login that names none and of the legacy route; empty means there is none.
    `audiences` are the edge's own: a token must be meant for one of them where `/verify` is not asked for another.
    `trusted_proxies` are CIDR blocks whose X-Forwarded-For is believed. `allowed_hosts` are host names without port
    (IPv6 without brackets); None accepts any, which is right behind a proxy that checks.

    `origins` are those of the web pages that may read answers, exactly as browsers send them; none by default.
    `is_https`: answers say that this name is to be asked over TLS only.

    `header_deadline` runs from a request's first byte to the end of its headers, `body_deadline` from there to the
    end of its body: together, with a second for noticing and one for closing, they bound a half-sent request (14 s). `write_deadline` bounds a client that
    does not read its answer. `keep_alive` is how long a silent connection stays open; a proxy in front should close
    its own idle connections earlier.

    `call_deadline` is for every gRPC call but Login, which has `login_deadline` because WeChat is behind it.
    `forged_tokens` is how often one address may present access tokens that are none of ours; None: ever so often.
    `connect_deadline` is how long a login waits for a connection to the server before it says that nothing was sent.

    Raises ValueError, naming the field, for a value that cannot work.
    """

    default_app: str = ""
    language: str = "zh"
    audiences: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    allowed_hosts: frozenset[str] | None = None
    max_body: int = 64 * 1024
    max_header_line: int = 8190
    max_headers: int = 100
    max_connections: int = 8192
    header_deadline: timedelta = timedelta(seconds=4)
    body_deadline: timedelta = timedelta(seconds=8)
    write_deadline: timedelta = timedelta(seconds=10)
    keep_alive: timedelta = timedelta(seconds=30)
    call_deadline: timedelta = timedelta(seconds=5)
    login_deadline: timedelta = timedelta(seconds=15)
    connect_deadline: timedelta = timedelta(seconds=1)
    forged_tokens: Rate | None = None
    origins: frozenset[str] = frozenset()
    is_https: bool = False

    def __post_init__(self) -> None:
        if self.language not in {"zh", "en"}:
            raise ValueError("language: zh or en")
        for block in self.trusted_proxies:
            try:
                ip_network(block)
            except ValueError as error:
                raise ValueError(f"trusted_proxies: {error}") from None
        for origin in self.origins:
            if not is_web_origin(origin):
                raise ValueError(f"origins: {origin} is none")
        counts: Mapping[str, int] = {
            "max_body": self.max_body,
            "max_header_line": self.max_header_line,
            "max_headers": self.max_headers,
            "max_connections": self.max_connections,
        }
        spans: Mapping[str, timedelta] = {
            "header_deadline": self.header_deadline,
            "body_deadline": self.body_deadline,
            "write_deadline": self.write_deadline,
            "keep_alive": self.keep_alive,
            "call_deadline": self.call_deadline,
            "login_deadline": self.login_deadline,
            "connect_deadline": self.connect_deadline,
        }
        wrong = [name for name, count in counts.items() if count < 1]
        wrong += [name for name, span in spans.items() if span <= _ZERO]
        if wrong:
            raise ValueError(f"{', '.join(wrong)}: must be above zero")
