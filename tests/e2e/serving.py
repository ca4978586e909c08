"""`authsvc serve` as an operator sets it up: generated keys, an apps file, a migrated database, a sandbox beside it."""

import json
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from click.testing import CliRunner

from authsvc.cli import main
from authsvc.sandbox import SANDBOX_APPS
from tests.e2e.running import Running, running
from tests.e2e.wire import Service

SERVE_PORTS = ("--grpc-port", "0", "--ops-port", "0")


@dataclass(frozen=True, slots=True)
class Site:
    """A folder that holds everything a server needs; `env` points at it."""

    folder: Path

    @property
    def env(self) -> dict[str, str]:
        return {
            "AUTHSVC_ENV": "test",
            "AUTHSVC_DATABASE_URL": f"sqlite:///{self.folder}/authsvc.db",
            "AUTHSVC_MASTER_KEYS_FILE": str(self.folder / "master.key"),
            "AUTHSVC_SIGNING_KEYS_DIR": str(self.folder / "keys"),
            "AUTHSVC_APPS_FILE": str(self.folder / "apps.toml"),
            "AUTHSVC_DEFAULT_APP": SANDBOX_APPS[0].app_id,
            "AUTHSVC_LOG_FORMAT": "json",
            "AUTHSVC_DRAIN_WAIT": "0",
        }

    @property
    def database(self) -> Path:
        return self.folder / "authsvc.db"


Policy = Mapping[str, Mapping[str, object]]


def prepare(folder: Path, *, wechat_url: str = "http://127.0.0.1:1", policy: Policy | None = None) -> Site:
    """Set a site up by the commands an operator would use; *policy* as in `write_apps`."""
    folder.mkdir(parents=True, exist_ok=True)
    site = Site(folder)
    (folder / "master.key").write_text(_authsvc("keys", "generate", "--master"))
    _authsvc("keys", "generate", "--dir", str(folder / "keys"))
    write_apps(site, wechat_url=wechat_url, policy=policy)
    _authsvc("migrate", env=site.env)
    return site


def _authsvc(*words: str, env: Mapping[str, str] | None = None) -> str:
    """Return what a command prints, run in this process: a tenth of a second each adds up."""
    result = CliRunner().invoke(
        main, words, env={"AUTHSVC_ENV": "test", **(env or {})}, catch_exceptions=False
    )
    assert result.exit_code == 0, result.output
    return result.stdout


def write_apps(
    site: Site,
    *,
    wechat_url: str,
    policy: Policy | None = None,
    only: Collection[str] = (),
    groups: Policy | None = None,
) -> None:
    """
    List the sandbox's apps, or *only* some of them, in the site's apps file.

    *policy* adds to or replaces what an app's table says; *groups* are the tables of groups by id.
    """
    lines = []
    for group_id, group in (groups or {}).items():
        table = {"id": group_id, **group}
        lines += ["[[groups]]", *(f"{name} = {json.dumps(value)}" for name, value in table.items())]
    for app in SANDBOX_APPS:
        if only and app.app_id not in only:
            continue
        table = {
            "id": app.app_id,
            "secret": app.secret,
            "wechat_url": wechat_url,
            "scopes": ["profile"],
        }
        table |= (policy or {}).get(app.app_id, {})
        lines += ["[[apps]]", *(f"{name} = {json.dumps(value)}" for name, value in table.items())]
    # All at once: a server may be reading it.
    draft = site.folder / "apps.draft"
    draft.write_text("\n".join(lines) + "\n")
    draft.replace(site.folder / "apps.toml")


@contextmanager
def sandbox(folder: Path) -> Iterator[tuple[Running, str]]:
    """`authsvc sandbox` on a free port, and its address."""
    folder.mkdir(parents=True, exist_ok=True)
    with running(folder, "sandbox", "--sandbox-port", "0") as process:
        yield process, process.addresses()["sandbox"]


@contextmanager
def serve_with_edge(
    folder: Path, *more: str, wechat: str, policy: Policy | None = None
) -> Iterator[tuple[Running, Service]]:
    """`serve --with-edge` in a new site, with the sandbox at *wechat*: processes of their own."""
    site = prepare(folder / "site", wechat_url=wechat, policy=policy)
    words = ("serve", "--with-edge", "--http-port", "0", *SERVE_PORTS, *more)
    with (
        # A killed supervisor cannot clear up after itself; short, because sockets have short paths.
        tempfile.TemporaryDirectory(prefix="e2e-") as temporary,
        running(site.folder, *words, env={**site.env, "TMPDIR": temporary}) as process,
        Service({**process.addresses(), "sandbox": wechat}) as service,
    ):
        yield process, service
