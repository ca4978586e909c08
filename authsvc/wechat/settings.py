"""What the client is told about WeChat and about each app. Where the values come from is config's business."""

import shlex
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
class TokenUrl:
    """
    Another service that keeps the app's access_token: GET answers `{"access_token": ..., "expires_in": seconds}`.

    `expires_in` may be left out: the token is then kept for a minute. `authorization` is sent as the header of that
    name. `timeout` spans the whole request.
    """

    url: str = field(repr=False)
    authorization: str = field(default="", repr=False)
    timeout: timedelta = timedelta(seconds=5)

    def __post_init__(self) -> None:
        """
        Refuse what could not work, without quoting any of it.

        Raises:
            ValueError: not an HTTP URL, a header that is not one line of ASCII, or a timeout that is not positive.

        """
        try:
            parts = urlsplit(self.url)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            usable = False
        if not usable:
            raise ValueError("the token URL must be an http or https URL")
        if not (self.authorization.isascii() and self.authorization.isprintable()):
            raise ValueError("the token URL's authorization must be one line of ASCII")
        if self.timeout <= _NOTHING:
            raise ValueError("the token URL's timeout must be positive")


@dataclass(frozen=True, slots=True)
class TokenCommand:
    """
    A command that prints the app's access_token, bare or as the JSON of `TokenUrl`. No shell is involved.

    After `timeout` it is killed with all that it started.
    """

    command: str = field(repr=False)
    timeout: timedelta = timedelta(seconds=10)

    def __post_init__(self) -> None:
        """
        Refuse what could not work, without quoting any of it.

        Raises:
            ValueError: the command is empty or not quoted right, or the timeout is not positive.

        """
        try:
            words = self.words
        except ValueError:
            words = ()
        if not words:
            raise ValueError("the token command must be a command line")
        if self.timeout <= _NOTHING:
            raise ValueError("the token command's timeout must be positive")

    @property
    def words(self) -> tuple[str, ...]:
        """The program and its arguments."""
        return tuple(shlex.split(self.command))


TokenSource = TokenUrl | TokenCommand


@dataclass(frozen=True, slots=True)
class WeChatApp:
    """
    How one mini-program is exchanged: its credentials, where, and how patiently.

    `deadline` spans everything from the call to the last byte of the answer, waiting for a slot (at most
    `slot_wait`) and backup hosts included; `connect_timeout` is for the name look-up, the connection and the TLS handshake of one host.
    `backup_urls` are tried in order while nothing was written; None takes the other official hosts if `base_url` is
    official and none otherwise, so that what was meant for a sandbox or a side-car never reaches the real WeChat.
    `breaker_faults` consecutive transient faults open the breaker for `breaker_cool_off`. Logins, other calls and
    token requests have slots (`max_concurrency` each) and breakers of their own: a login needs no access_token.

    `next_secret` is the secret that WeChat will accept once `secret` has been reset (DESIGN section 6).
    `token_source` is asked for the access_token in place of WeChat. `cloud` sends none at all: the side-car of WeChat
    cloud hosting, reached by plain HTTP, adds it (facts page 6.2).
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
    next_secret: str | None = field(default=None, repr=False)
    token_source: TokenSource | None = None
    cloud: bool = False

    def __post_init__(self) -> None:
        """
        Refuse what could not work, naming the app and the field, never a value that might be a secret.

        Raises:
            ValueError: a field is empty, not positive, or not an origin (scheme, host and port only).

        """
        if not self.app_id or not self.secret:
            raise ValueError(f"app {self.app_id!r} needs an app_id and a secret")
        if self.next_secret == "":
            raise ValueError(f"app {self.app_id!r}: next_secret must not be empty")
        if self.cloud and self.token_source is not None:
            raise ValueError(f"app {self.app_id!r}: with cloud there is no access_token to fetch")
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

    def endpoint(self, path: str) -> tuple[str, ...]:
        """Return the URLs of *path*, in the order of `urls`."""
        return tuple(url.rstrip("/") + path for url in self.urls)


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
