"""The mini-programs: a TOML file of `[[apps]]` tables, judged whole, all complaints at once."""

import tomllib
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from authsvc.config import secrets
from authsvc.config.sections import Environment
from authsvc.domain.apps import App
from authsvc.wechat.settings import OFFICIAL_HOSTS, WeChatApp

_SANDBOX_ID_PREFIX = "wx00000000000000d"


class AppsFileProblem(ValueError):
    """Everything that is wrong with the list of apps, one sentence each; never a secret's value."""

    def __init__(self, complaints: list[str]) -> None:
        super().__init__("\n".join(complaints))
        self.complaints = complaints


Seconds = Annotated[float, Field(gt=0)]


class ConfiguredApp(BaseModel):
    """One `[[apps]]` table. Durations are seconds; the secret may come from `secret_file` or `secret_command`."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    id: str = Field(min_length=1, max_length=128)
    secret: SecretStr
    audiences: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    enabled: bool = True
    platform_group: str = Field(
        "", description="Open-platform account: apps of one group share users by unionid"
    )
    openid_in_token: bool = True
    access_lifetime: Annotated[float, Field(ge=60, le=86400)] = 7200
    idle_lifetime: Seconds = 7 * 86400
    absolute_lifetime: Seconds = 30 * 86400
    grace: Annotated[float, Field(ge=0, le=300)] = 30
    max_sessions: Annotated[int, Field(ge=1, le=1000)] = 10
    wechat_url: str = f"https://{OFFICIAL_HOSTS[0]}"
    wechat_backup_urls: tuple[str, ...] | None = None
    wechat_deadline: Annotated[float, Field(gt=0, le=14)] = 5
    wechat_connect_timeout: Seconds = 2
    wechat_concurrency: Annotated[int, Field(ge=1)] = 100
    wechat_breaker_faults: Annotated[int, Field(ge=1)] = 10
    wechat_breaker_cool_off: Seconds = 10

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
            platform_group=self.platform_group,
            enabled=self.enabled,
            openid_in_token=self.openid_in_token,
        )

    def wechat(self) -> WeChatApp:
        """Return what the WeChat client knows of the app."""
        return WeChatApp(
            app_id=self.id,
            secret=self.secret.get_secret_value(),
            base_url=self.wechat_url,
            backup_urls=self.wechat_backup_urls,
            deadline=timedelta(seconds=self.wechat_deadline),
            connect_timeout=timedelta(seconds=self.wechat_connect_timeout),
            max_concurrency=self.wechat_concurrency,
            breaker_faults=self.wechat_breaker_faults,
            breaker_cool_off=timedelta(seconds=self.wechat_breaker_cool_off),
        )


def load_apps(
    path: str, *, environment: Environment, allow_hosts: Sequence[str] = ()
) -> tuple[ConfiguredApp, ...]:
    """
    Read the apps file.

    Raises:
        AppsFileProblem: with every complaint at once.

    """
    try:
        document = tomllib.loads(Path(path).expanduser().read_text(encoding="utf-8"))
    except OSError as error:
        raise AppsFileProblem([f"apps_file: cannot be read: {error.strerror}"]) from None
    except ValueError:
        # A TOML error may quote the line it stumbled on, and that line may hold a secret.
        raise AppsFileProblem(["apps_file: is not valid TOML"]) from None
    tables = document.get("apps")
    listed = isinstance(tables, list) and tables and all(isinstance(table, dict) for table in tables)
    if not listed or set(document) != {"apps"}:
        raise AppsFileProblem(["apps_file: needs [[apps]] tables, and nothing else"])
    return judge_apps(document["apps"], environment=environment, allow_hosts=allow_hosts)


def judge_apps(
    tables: Sequence[Mapping[str, Any]], *, environment: Environment, allow_hosts: Sequence[str] = ()
) -> tuple[ConfiguredApp, ...]:
    """
    Return the apps of already parsed tables.

    Raises:
        AppsFileProblem: with every complaint at once.

    """
    apps: list[ConfiguredApp] = []
    complaints: list[str] = []
    for number, table in enumerate(tables, start=1):
        label = f"apps[{number}]"
        try:
            app = _judge_table(table, label=label)
            complaints.extend(_complaints(app, environment=environment, allow_hosts=allow_hosts))
            apps.append(app)
        except ValidationError as error:
            complaints.extend(
                f"{label}.{'.'.join(str(part) for part in item['loc'])}: {item['msg']}"
                for item in error.errors(include_input=False)
            )
        except ValueError as error:
            complaints.append(f"{label}: {error}")
    ids = [app.id for app in apps]
    complaints.extend(
        f"apps: {app_id} is listed twice" for app_id in sorted({i for i in ids if ids.count(i) > 1})
    )
    if complaints:
        raise AppsFileProblem(complaints)
    return tuple(apps)


def _judge_table(table: Mapping[str, Any], *, label: str) -> ConfiguredApp:
    fields = dict(table)
    given = {name: fields.pop(name, None) for name in ("secret", "secret_file", "secret_command")}
    secret = secrets.resolve("secret", given, label=f"{label}.secret")
    if secret is not None:
        fields["secret"] = secret
    app = ConfiguredApp.model_validate(fields)
    app.wechat()  # judges origins, without quoting them
    return app


def _complaints(app: ConfiguredApp, *, environment: Environment, allow_hosts: Sequence[str]) -> list[str]:
    if app.access_lifetime > app.absolute_lifetime:
        return [f"{app.id}: access_lifetime exceeds absolute_lifetime"]
    if environment is not Environment.PROD:
        return []
    found = []
    if app.id.startswith(_SANDBOX_ID_PREFIX):
        found.append(f"{app.id}: is a sandbox app, refused in prod")
    for url in app.wechat().urls:
        parts = urlsplit(url)
        official = parts.scheme == "https" and parts.hostname in OFFICIAL_HOSTS and parts.port in (None, 443)
        if not official and parts.hostname not in allow_hosts:
            found.append(f"{app.id}: a WeChat host is not official; allow it by name in wechat_allow_hosts")
    return found
