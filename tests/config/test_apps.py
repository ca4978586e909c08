"""The list of mini-programs: judged whole, secrets from anywhere, and no secret in a complaint."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from authsvc.config import AppsFileProblem, ConfiguredApp, Environment, load_apps
from authsvc.config.apps import judge_apps
from authsvc.wechat.settings import OFFICIAL_HOSTS, TokenCommand, TokenUrl

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


def test_secrets_come_in_four_ways_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The next secret and the header of the token's keeper as well as the secret: value, file, command or variable.
    """
    file = tmp_path / "secret"
    file.write_text(f"{CANARY}\n")
    monkeypatch.setenv("SOME_SECRET", CANARY)
    for way, value in (
        ("", CANARY),
        ("_file", str(file)),
        ("_command", f"cat {file}"),
        ("_env", "SOME_SECRET"),
    ):
        table = {
            "id": "wx1",
            "secret": "now",
            f"next_secret{way}": value,
            "wechat_token_url": "https://tokens.example/x",
            f"wechat_token_authorization{way}": value,
        }
        (app,) = judge(table)
        wechat = app.wechat()
        assert wechat.next_secret == CANARY
        assert wechat.token_source == TokenUrl("https://tokens.example/x", CANARY)
        assert CANARY not in repr(app) + repr(wechat) + repr(wechat.token_source)
    assert judge({"id": "wx1", "secret_env": "SOME_SECRET"})[0].secret.get_secret_value() == CANARY


def test_policies_of_apps_and_of_their_groups() -> None:
    """
    `phone` is the app's; `merge` is its group's, and a group without a table merges by itself.
    """
    tables = [
        {"id": "wx1", "secret": "s", "platform_group": "held", "phone": "bind"},
        {"id": "wx2", "secret": "s", "platform_group": "other"},
        {"id": "wx3", "secret": "s"},
    ]
    apps = judge_apps(tables, groups=[{"id": "held", "merge": "hold"}], environment=Environment.PROD)
    policies = [app.policy() for app in apps]

    assert [policy.merge_policy.value for policy in policies] == ["hold", "auto", "auto"]
    assert [policy.phone.value for policy in policies] == ["bind", "return", "return"]


def test_the_access_token_may_be_kept_elsewhere() -> None:
    """
    By a command, or by the side-car of WeChat's cloud, which is the one thing that is spoken to in plain HTTP.
    """
    (by_command,) = judge({**GOOD, "wechat_token_command": "print-token --app wx1"})
    (in_cloud,) = judge({**GOOD, "wechat_cloud": True, "wechat_url": "http://api.weixin.qq.com"})

    assert by_command.wechat().token_source == TokenCommand("print-token --app wx1")
    assert in_cloud.wechat().cloud
    assert in_cloud.wechat().token_source is None


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"next_secret": CANARY}, "next_secret is the secret itself"),
        ({"next_secret": "x", "next_secret_env": "NOT_SET_ANYWHERE"}, "give it in one way"),
        ({"next_secret_env": "NOT_SET_ANYWHERE"}, "apps[1].next_secret: the variable is not set"),
        ({"phone": "keep"}, "apps[1].phone: "),
        ({"merge": "hold"}, "merge: is the group's"),
        ({"platform_group": 7}, "apps[1].platform_group: "),
        ({"wechat_token_url": f"ftp://{CANARY}"}, "the token URL must be"),
        ({"wechat_token_url": "http://tokens.example/"}, "in plain text"),
        ({"wechat_token_url": "https://t/", "wechat_token_command": "x"}, "not both"),
        ({"wechat_token_authorization": CANARY}, "goes with wechat_token_url"),
        ({"wechat_token_command": f"'{CANARY}"}, "must be a command line"),
        ({"wechat_cloud": True, "wechat_token_command": "x"}, "no access_token to fetch"),
    ],
    ids=str,
)
def test_each_mistake_about_secrets_and_tokens(changes: dict[str, Any], says: str) -> None:
    """
    By place and reason, never by value.
    """
    found = complaints({**GOOD, **changes})

    assert any(says in text for text in found), found


def test_mistakes_in_groups_are_told_with_the_rest(tmp_path: Path) -> None:
    """
    Unknown policies, twins, names that no app has, and what is no table; together with the apps' own.
    """
    file = tmp_path / "apps.toml"
    file.write_text(
        '[[apps]]\nid = "wx1"\nsecret = "s"\nplatform_group = "a"\ngrace = 301\n'
        '[[groups]]\nid = "a"\n[[groups]]\nid = "a"\n[[groups]]\nid = "b"\n[[groups]]\nid = "c"\nmerge = "ask"\n'
    )
    with pytest.raises(AppsFileProblem) as caught:
        load_apps(str(file), environment=Environment.PROD)
    found = caught.value.complaints

    assert [text.partition(":")[0] for text in found] == [
        "groups",
        "groups[4].merge",
        "apps[1].grace",
        "groups",
    ]
    assert "groups: a is listed twice" in found
    assert "groups: no app is of b" in found
    file.write_text('groups = 1\n[[apps]]\nid = "wx1"\nsecret = "s"\n')
    with pytest.raises(AppsFileProblem, match="nothing else"):
        load_apps(str(file), environment=Environment.PROD)
