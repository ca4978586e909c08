"""The list of mini-programs: judged whole, secrets from anywhere, and no secret in a complaint."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from authsvc.config import AppsFileProblem, ConfiguredApp, Environment, load_apps
from authsvc.config.apps import judge_apps
from authsvc.wechat.settings import OFFICIAL_HOSTS

CANARY = "canary-secret-0123456789"
GOOD = {"id": "wx1", "secret": CANARY}


def judge(*tables: dict[str, Any], environment: Environment = Environment.PROD) -> tuple[ConfiguredApp, ...]:
    return judge_apps(tables, environment=environment)


def complaints(*tables: dict[str, Any], environment: Environment = Environment.PROD) -> list[str]:
    with pytest.raises(AppsFileProblem) as caught:
        judge(*tables, environment=environment)
    assert CANARY not in str(caught.value) + repr(caught.value)
    return caught.value.complaints


def test_an_app_needs_an_id_and_a_secret_only() -> None:
    """
    The rest has the design's defaults: audience = id, 2 h, idle 7 d, absolute 30 d, 30 s grace, the official host.
    """
    (app,) = judge(GOOD)
    policy, wechat = app.policy(), app.wechat()

    assert (policy.app_id, policy.audiences, policy.enabled, policy.openid_in_token) == (
        "wx1",
        ("wx1",),
        True,
        True,
    )
    assert (policy.access_lifetime, policy.grace) == (timedelta(hours=2), timedelta(seconds=30))
    assert (policy.idle_lifetime, policy.absolute_lifetime) == (timedelta(days=7), timedelta(days=30))
    assert wechat.base_url == f"https://{OFFICIAL_HOSTS[0]}"
    assert CANARY not in repr(app) + str(app) + repr(wechat)


def test_many_apps_and_their_own_settings() -> None:
    """
    Each table is an app of its own.
    """
    second = {
        "id": "wx2",
        "secret": "s",
        "audiences": ["a", "b"],
        "scopes": ["x"],
        "grace": 0,
        "enabled": False,
    }
    one, two = judge(GOOD, second)

    assert (one.id, two.id) == ("wx1", "wx2")
    assert two.policy().audiences == ("a", "b")
    assert two.policy().grace == timedelta()
    assert two.policy().enabled is False


@pytest.mark.parametrize("kind", ["secret_file", "secret_command"])
def test_the_secret_may_come_from_a_file_or_a_command(tmp_path: Path, kind: str) -> None:
    """
    Without the newline at its end.
    """
    file = tmp_path / "secret"
    file.write_text(f"{CANARY}\n")
    value = str(file) if kind == "secret_file" else f"cat {file}"

    assert judge({"id": "wx1", kind: value})[0].secret.get_secret_value() == CANARY


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"secret": None}, "apps[1].secret: "),
        ({"secret": ""}, "apps[1].secret"),
        ({"id": ""}, "apps[1].id: "),
        ({"id": 7}, "apps[1].id: "),
        ({"nonsense": CANARY}, "apps[1].nonsense: "),
        ({"grace": 301}, "apps[1].grace: "),
        ({"grace": CANARY}, "apps[1].grace: "),
        ({"access_lifetime": 1}, "apps[1].access_lifetime: "),
        ({"max_sessions": 0}, "apps[1].max_sessions: "),
        ({"secret_file": "/nothing"}, "apps[1].secret"),
        ({"secret": None, "secret_file": "/nothing"}, "apps[1]: apps[1].secret: cannot read the file"),
        ({"secret": None, "secret_command": f"sh -c 'echo {CANARY}; false'"}, "exit status 1"),
        ({"access_lifetime": 86400, "absolute_lifetime": 7200}, "exceeds absolute_lifetime"),
        ({"wechat_url": f"https://u:{CANARY}@api.weixin.qq.com"}, "apps[1]: "),
        ({"wechat_url": f"not a url {CANARY}"}, "apps[1]: "),
        ({"wechat_url": "http://api.weixin.qq.com"}, "not official"),
        ({"wechat_backup_urls": ["https://evil.example"]}, "not official"),
        ({"id": "wx00000000000000d1"}, "is a sandbox app"),
    ],
    ids=str,
)
def test_each_mistake_is_told_by_its_place(changes: dict[str, Any], says: str) -> None:
    """
    The table's number and the field's name, never a value that may be secret.
    """
    table = {name: value for name, value in {**GOOD, **changes}.items() if value is not None}

    assert any(says in text for text in complaints(table)), complaints(table)


def test_all_mistakes_of_all_tables_come_at_once() -> None:
    """
    One list for the whole file, twins included.
    """
    found = complaints(
        GOOD, {"id": "wx2"}, {**GOOD, "grace": -1}, {**GOOD}, {**GOOD, "id": "wx3", "scopes": 1}
    )

    assert [text.partition(":")[0] for text in found] == [
        "apps[2].secret",
        "apps[3].grace",
        "apps[5].scopes",
        "apps",
    ]
    assert "wx1 is listed twice" in found[-1]


@pytest.mark.parametrize(
    "content",
    ["", "apps = 1", "[apps]\nid = 'x'", "x = 1", f"[[apps]]\nsecret = '{CANARY}", f"[[app]]\nsecret='{CANARY}'",
     f"other = '{CANARY}'\n[[apps]]\nid='x'\nsecret='{CANARY}'", "apps = []", "apps = [1]"],
)  # fmt: skip
def test_a_file_that_is_no_list_of_apps(tmp_path: Path, content: str) -> None:
    """
    One complaint that quotes nothing.
    """
    (tmp_path / "apps.toml").write_text(content)
    with pytest.raises(AppsFileProblem) as caught:
        load_apps(str(tmp_path / "apps.toml"), environment=Environment.PROD)

    assert len(caught.value.complaints) == 1
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize("environment", [Environment.DEV, Environment.TEST])
def test_outside_prod_any_wechat_may_be_named(environment: Environment) -> None:
    """
    The sandbox's apps and hosts are for development.
    """
    table = {"id": "wx00000000000000d1", "secret": "s", "wechat_url": "http://127.0.0.1:8090"}

    assert judge(table, environment=environment)[0].id == "wx00000000000000d1"
