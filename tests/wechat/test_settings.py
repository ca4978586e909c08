"""What may be configured, and what a configuration never reveals."""

from dataclasses import replace
from datetime import timedelta

import pytest

from authsvc.wechat import OFFICIAL_HOSTS, WeChatApp

APP = WeChatApp(app_id="wx00000000000000e1", secret="canary-secret")


def test_official_base_has_the_other_official_hosts_as_backups() -> None:
    """Out of the box every official host is tried, the nearest first, all over TLS."""
    assert tuple(f"https://{host}" for host in OFFICIAL_HOSTS) == APP.urls


@pytest.mark.parametrize(
    "base", ["http://127.0.0.1:8090", "http://api.weixin.qq.com", "https://api.weixin.qq.com:8443"]
)
def test_other_base_has_no_backups(base: str) -> None:
    """What is meant for a sandbox or a side-car never goes on to the real WeChat by default."""
    assert (base,) == replace(APP, base_url=base).urls


def test_backups_may_be_given_or_switched_off() -> None:
    """An explicit list is taken as it is."""
    assert (APP.base_url,) == replace(APP, backup_urls=()).urls
    assert (APP.base_url, "http://b") == replace(APP, backup_urls=("http://b",)).urls


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.weixin.qq.com",
        "ftp://api.weixin.qq.com",
        "https://",
        "https://host/path",
        "https://host?secret=canary-secret",
        "https://host#canary-secret",
        "https://user:canary-secret@host",
        "https://host:0",
        "https://host:canary-secret",
        "https://[::1",
    ],
)
def test_only_origins_are_hosts(url: str) -> None:
    """A base or backup URL is scheme, host and port; the complaint repeats nothing of it."""
    for change in ({"base_url": url}, {"backup_urls": (url,)}):
        with pytest.raises(ValueError, match="must be an origin") as raised:
            replace(APP, **change)
        assert "canary" not in str(raised.value)
        assert raised.value.__context__ is None


@pytest.mark.parametrize(
    "change",
    [
        {"app_id": ""},
        {"secret": ""},
        {"deadline": timedelta()},
        {"connect_timeout": timedelta(seconds=-1)},
        {"breaker_cool_off": timedelta()},
        {"slot_wait": timedelta(seconds=-1)},
        {"max_concurrency": 0},
        {"breaker_faults": 0},
    ],
    ids=str,
)
def test_nonsense_is_refused(change: dict[str, object]) -> None:
    """What could never work fails when it is configured, not at the first login."""
    with pytest.raises(ValueError, match="app ") as raised:
        replace(APP, **change)  # type: ignore[arg-type]
    assert "canary" not in str(raised.value)


def test_repr_hides_the_secret() -> None:
    """An app can be printed."""
    assert "canary" not in repr(APP)
