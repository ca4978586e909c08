"""What the client is told about WeChat and about each app. Where the values come from is config's business."""

from dataclasses import dataclass, field
from datetime import timedelta
from urllib.parse import urlsplit

# Facts page 8.6, in the order in which they are tried; the first answers from the nearest region.
OFFICIAL_HOSTS = (
    "api.weixin.qq.com",
    "api2.weixin.qq.com",
    "sh.api.weixin.qq.com",
    "sz.api.weixin.qq.com",
    "hk.api.weixin.qq.com",
)
_NOTHING = timedelta()


@dataclass(frozen=True, slots=True)
class WeChatApp:
    """
    How one mini-program is exchanged: its credentials, where, and how patiently.

    `deadline` spans everything from the call to the last byte of the answer, waiting for a slot (at most
    `slot_wait`) and backup hosts included; `connect_timeout` is for the name look-up, the connection and the TLS handshake of one host.
    `backup_urls` are tried in order while nothing was written; None takes the other official hosts if `base_url` is
    official and none otherwise, so that what was meant for a sandbox or a side-car never reaches the real WeChat.
    `breaker_faults` consecutive transient faults open the breaker for `breaker_cool_off`.
    """

    app_id: str
    secret: str = field(repr=False)
    base_url: str = f"https://{OFFICIAL_HOSTS[0]}"
    backup_urls: tuple[str, ...] | None = None
    deadline: timedelta = timedelta(seconds=5)
    connect_timeout: timedelta = timedelta(seconds=2)
    max_concurrency: int = 100
    slot_wait: timedelta = timedelta(seconds=1)
    breaker_faults: int = 10
    breaker_cool_off: timedelta = timedelta(seconds=10)

    def __post_init__(self) -> None:
        """
        Refuse what could not work, naming the app and the field, never a value that might be a secret.

        Raises:
            ValueError: a field is empty, not positive, or not an origin (scheme, host and port only).

        """
        if not self.app_id or not self.secret:
            raise ValueError(f"app {self.app_id!r} needs an app_id and a secret")
        for url in (self.base_url, *(self.backup_urls or ())):
            _check_origin(self.app_id, url)
        for name in ("deadline", "connect_timeout", "breaker_cool_off"):
            if getattr(self, name) <= _NOTHING:
                raise ValueError(f"app {self.app_id!r}: {name} must be positive")
        if self.slot_wait < _NOTHING:
            raise ValueError(f"app {self.app_id!r}: slot_wait must not be negative")
        for name in ("max_concurrency", "breaker_faults"):
            if getattr(self, name) < 1:
                raise ValueError(f"app {self.app_id!r}: {name} must be at least 1")

    @property
    def urls(self) -> tuple[str, ...]:
        """The origins to try, in order."""
        if self.backup_urls is not None:
            return (self.base_url, *self.backup_urls)
        base = urlsplit(self.base_url)
        if base.scheme != "https" or base.netloc not in OFFICIAL_HOSTS:
            return (self.base_url,)
        return (self.base_url, *(f"https://{host}" for host in OFFICIAL_HOSTS if host != base.netloc))


@dataclass(frozen=True, slots=True)
class WeChatSettings:
    """
    What holds for every app.

    `refuse_sandbox` refuses answers that carry the sandbox's marker header (DESIGN section 4); only development and
    tests switch it off. `max_body` is in bytes; a good answer has about 150. `dns_ttl` bounds how long a looked-up
    address is believed (facts page 8.6).
    """

    refuse_sandbox: bool = True
    max_body: int = 64 * 1024
    dns_ttl: timedelta = timedelta(seconds=10)


def _check_origin(app_id: str, url: str) -> None:
    # The text leaves the URL out: somebody may have put credentials there, which is one of the things refused.
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts = urlsplit("")
        port = None
    plain = not (parts.query or parts.fragment or "@" in parts.netloc) and parts.path in ("", "/")
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0 or not plain:
        raise ValueError(f"app {app_id!r}: a WeChat URL must be an origin like https://{OFFICIAL_HOSTS[0]}")
