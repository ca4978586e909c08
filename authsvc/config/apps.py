"""The mini-programs: a TOML file of `[[apps]]` and `[[groups]]` tables, judged whole, all complaints at once."""

import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from authsvc.config import secrets
from authsvc.config.legacy import LegacyTable, is_too_far
from authsvc.config.limits import LimitsTable
from authsvc.config.sections import Environment, is_loopback
from authsvc.domain.apps import App, MergePolicy, PhonePolicy
from authsvc.domain.legacy_token import MAX_AHEAD
from authsvc.system import SystemClock
from authsvc.wechat.settings import OFFICIAL_HOSTS, TokenCommand, TokenSource, TokenUrl, WeChatApp

_SANDBOX_ID_PREFIX = "wx00000000000000d"
# What may also come from a file, a command or a variable: `<name>_file`, `<name>_command`, `<name>_env`.
_SECRETS = ("secret", "next_secret", "wechat_token_authorization")
_WAYS = ("", "_file", "_command", "_env")


class AppsFileProblem(ValueError):
    """Everything that is wrong with the list of apps, one sentence each; never a secret's value."""

    def __init__(self, complaints: list[str]) -> None:
        super().__init__("\n".join(complaints))
        self.complaints = complaints


Seconds = Annotated[float, Field(gt=0)]


class GroupTable(BaseModel):
    """One `[[groups]]` table: an open-platform account, and what its apps do with a unionid that appears late."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    id: str = Field(min_length=1, max_length=64)
    merge: MergePolicy = MergePolicy.AUTO


class AppTable(BaseModel):
    """
    One `[[apps]]` table. Durations are seconds.

    Secrets may come from a file, a command or a variable (`secret_file`, `secret_command`, `secret_env`).
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    id: str = Field(min_length=1, max_length=64)
    secret: SecretStr
    next_secret: SecretStr | None = None
    audiences: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    enabled: bool = True
    platform_group: str = Field(
        "", max_length=64, description="Open-platform account: apps of one group share users by unionid"
    )
    phone: PhonePolicy = PhonePolicy.RETURN
    openid_in_token: bool = True
    access_lifetime: Annotated[float, Field(ge=60, le=86400)] = 7200
    idle_lifetime: Seconds = 7 * 86400
    absolute_lifetime: Seconds = 30 * 86400
    grace: Annotated[float, Field(ge=0, le=300)] = 30
    max_sessions: Annotated[int, Field(ge=1, le=1000)] = 10
    limits: LimitsTable | None = None
    legacy: LegacyTable | None = None
    wechat_url: str = f"https://{OFFICIAL_HOSTS[0]}"
    wechat_backup_urls: tuple[str, ...] | None = None
    wechat_deadline: Annotated[float, Field(gt=0, le=14)] = 5
    wechat_connect_timeout: Seconds = 2
    wechat_concurrency: Annotated[int, Field(ge=1)] = 100
    wechat_breaker_faults: Annotated[int, Field(ge=1)] = 10
    wechat_breaker_cool_off: Seconds = 10
    wechat_token_url: str = ""
    wechat_token_authorization: SecretStr | None = None
    wechat_token_command: str = ""
    wechat_cloud: bool = False


class ConfiguredApp(AppTable):
    """An app by its table, with the policy of its group."""

    merge: MergePolicy = MergePolicy.AUTO

    def policy(self) -> App:
        """Return what the domain knows of the app. Its default audience is its id."""
        return App(
            app_id=self.id,
            audiences=self.audiences or (self.id,),
            scopes=self.scopes,
            access_lifetime=timedelta(seconds=self.access_lifetime),
            idle_lifetime=timedelta(seconds=self.idle_lifetime),
            absolute_lifetime=timedelta(seconds=self.absolute_lifetime),
            grace=timedelta(seconds=self.grace),
            max_sessions=self.max_sessions,
            login_rate=None if self.limits is None else self.limits.login_rate(),
            platform_group=self.platform_group,
            merge_policy=self.merge,
            phone=self.phone,
            enabled=self.enabled,
            openid_in_token=self.openid_in_token,
            legacy=None if self.legacy is None else self.legacy.policy(),
        )

    def wechat(self) -> WeChatApp:
        """Return what the WeChat client knows of the app."""
        return WeChatApp(
            app_id=self.id,
            secret=self.secret.get_secret_value(),
            next_secret=None if self.next_secret is None else self.next_secret.get_secret_value(),
            token_source=self._token_source(),
            cloud=self.wechat_cloud,
            base_url=self.wechat_url,
            backup_urls=self.wechat_backup_urls,
            deadline=timedelta(seconds=self.wechat_deadline),
            connect_timeout=timedelta(seconds=self.wechat_connect_timeout),
            max_concurrency=self.wechat_concurrency,
            breaker_faults=self.wechat_breaker_faults,
            breaker_cool_off=timedelta(seconds=self.wechat_breaker_cool_off),
        )

    def _token_source(self) -> TokenSource | None:
        given = self.wechat_token_authorization
        if self.wechat_token_url and self.wechat_token_command:
            raise ValueError("give wechat_token_url or wechat_token_command, not both")
        if given is not None and not self.wechat_token_url:
            raise ValueError("wechat_token_authorization goes with wechat_token_url")
        if self.wechat_token_url:
            return TokenUrl(self.wechat_token_url, "" if given is None else given.get_secret_value())
        return TokenCommand(self.wechat_token_command) if self.wechat_token_command else None


Tables = Sequence[Mapping[str, Any]]


def load_apps(
    path: str, *, environment: Environment, allow_hosts: Sequence[str] = ()
) -> tuple[ConfiguredApp, ...]:
    """
    Read the apps file.

    Raises:
        AppsFileProblem: with every complaint at once.

    """
    apps, groups = read_tables(path)
    return judge_apps(apps, groups=groups, environment=environment, allow_hosts=allow_hosts)


def read_tables(path: str) -> tuple[Tables, Tables]:
    """
    Return the `[[apps]]` and the `[[groups]]` tables of the file, not yet judged.

    Raises:
        AppsFileProblem: it cannot be read, or holds something else.

    """
    try:
        document = tomllib.loads(Path(path).expanduser().read_text(encoding="utf-8"))
    except OSError as error:
        raise AppsFileProblem([f"apps_file: cannot be read: {error.strerror}"]) from None
    except ValueError:
        # A TOML error may quote the line it stumbled on, and that line may hold a secret.
        raise AppsFileProblem(["apps_file: is not valid TOML"]) from None
    apps, groups = document.get("apps"), document.get("groups", [])
    if not (_is_tables(apps) and apps and _is_tables(groups)) or not set(document) <= {"apps", "groups"}:
        raise AppsFileProblem(["apps_file: needs [[apps]] tables, may have [[groups]], and nothing else"])
    return apps, groups


def _is_tables(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(table, dict) for table in value)


def judge_apps(
    tables: Tables,
    *,
    groups: Tables = (),
    environment: Environment,
    allow_hosts: Sequence[str] = (),
    now: datetime | None = None,
) -> tuple[ConfiguredApp, ...]:
    """
    Return the apps of already parsed tables, each with its group's policy; a group without a table has the default.

    *now*: the real present if None; how far ahead a migration may end is counted from it.

    Raises:
        AppsFileProblem: with every complaint at once.

    """
    complaints: list[str] = []
    merges: dict[str, MergePolicy] = {}
    for number, table in enumerate(groups, start=1):
        try:
            group = GroupTable.model_validate(table)
        except ValidationError as error:
            complaints.extend(_told(error, f"groups[{number}]"))
            continue
        if group.id in merges:
            complaints.append(f"groups: {group.id} is listed twice")
        merges[group.id] = group.merge
    apps: list[ConfiguredApp] = []
    for number, table in enumerate(tables, start=1):
        label = f"apps[{number}]"
        try:
            app = _judge_table(table, merges, label=label)
            complaints.extend(_complaints(app, environment=environment, allow_hosts=allow_hosts))
            apps.append(app)
        except ValidationError as error:
            complaints.extend(_told(error, label))
        except ValueError as error:
            complaints.append(f"{label}: {error}")
    ids = [app.id for app in apps]
    complaints.extend(
        f"apps: {app_id} is listed twice" for app_id in sorted({i for i in ids if ids.count(i) > 1})
    )
    complaints.extend(_legacy_complaints(apps, now=now or SystemClock().now()))
    named = [table.get("platform_group") for table in tables]
    complaints.extend(f"groups: no app is of {name}" for name in merges if name not in named)
    if complaints:
        raise AppsFileProblem(complaints)
    return tuple(apps)


def _told(error: ValidationError, label: str) -> Iterator[str]:
    for item in error.errors(include_input=False):
        yield f"{label}.{'.'.join(str(part) for part in item['loc'])}: {item['msg']}"


def _judge_table(table: Mapping[str, Any], merges: Mapping[str, MergePolicy], *, label: str) -> ConfiguredApp:
    if "merge" in table:
        raise ValueError("merge: is the group's; write a [[groups]] table")
    group = table.get("platform_group")
    fields = {
        **table,
        "merge": merges.get(group, MergePolicy.AUTO) if isinstance(group, str) else MergePolicy.AUTO,
    }
    for name in _SECRETS:
        given = {name + way: fields.pop(name + way, None) for way in _WAYS}
        value = _secret(name, given, label=f"{label}.{name}")
        if value is not None:
            fields[name] = value
    if isinstance(legacy := fields.get("legacy"), Mapping):
        given = {"secret" + way: legacy.get("secret" + way) for way in _WAYS}
        others = {name: value for name, value in legacy.items() if name not in given}
        fields["legacy"] = {
            **others,
            "secret": _secret("secret", given, label=f"{label}.legacy.secret") or "",
        }
    app = ConfiguredApp.model_validate(fields)
    app.wechat()  # judges origins, without quoting them
    return app


def _secret(name: str, given: dict[str, Any], *, label: str) -> Any:
    variable = given.pop(f"{name}_env")
    if variable is None:
        return secrets.resolve(name, given, label=label)
    if any(given.values()):
        raise secrets.SecretProblem(f"{label}: give it in one way, not several")
    value = os.environ.get(variable) if isinstance(variable, str) else None
    if not value:
        raise secrets.SecretProblem(f"{label}: the variable is not set")
    return value


def _legacy_complaints(apps: Sequence[ConfiguredApp], *, now: datetime) -> Iterator[str]:
    secrets_seen: set[bytes] = set()
    for app in apps:
        if app.legacy is None:
            continue
        if is_too_far(app.legacy.legacy_until, now=now, ahead=MAX_AHEAD):
            yield f"{app.id}: legacy.legacy_until is more than {MAX_AHEAD.days} days ahead"
        secret = app.legacy.policy().secret
        if secret in secrets_seen:
            yield f"{app.id}: legacy.secret is another app's too; nobody could tell whose token it is"
        secrets_seen.add(secret)


def _complaints(app: ConfiguredApp, *, environment: Environment, allow_hosts: Sequence[str]) -> list[str]:
    found = []
    if app.access_lifetime > app.absolute_lifetime:
        found.append(f"{app.id}: access_lifetime exceeds absolute_lifetime")
    if app.next_secret is not None and app.next_secret == app.secret:
        found.append(f"{app.id}: next_secret is the secret itself")
    if environment is not Environment.PROD:
        return found
    if app.id.startswith(_SANDBOX_ID_PREFIX):
        found.append(f"{app.id}: is a sandbox app, refused in prod")
    for url in app.wechat().urls:
        parts = urlsplit(url)
        # The side-car of WeChat's cloud takes the official name over plain HTTP (facts page 6.2).
        safe = (parts.scheme == "https" and parts.port in (None, 443)) or app.wechat_cloud
        if not (safe and parts.hostname in OFFICIAL_HOSTS) and parts.hostname not in allow_hosts:
            found.append(f"{app.id}: a WeChat host is not official; allow it by name in wechat_allow_hosts")
    token = urlsplit(app.wechat_token_url)
    host = token.hostname or ""
    if token.scheme == "http" and not is_loopback(host) and host not in allow_hosts:
        found.append(
            f"{app.id}: wechat_token_url sends the access_token in plain text; use https, or allow its host "
            "by name in wechat_allow_hosts"
        )
    return found
