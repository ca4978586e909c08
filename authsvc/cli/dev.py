"""`authsvc dev`: everything in one process and loop, on this machine only."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import click

from authsvc.app import AuthServer, Edge, Secrets, World, build_ops
from authsvc.app.channels import Credentials
from authsvc.cli import walkthrough
from authsvc.cli.material import judge_trust, make_dev_secrets
from authsvc.cli.options import misconfigured, read_settings, settings_options
from authsvc.cli.own_callers import development_callers
from authsvc.cli.reloading import AppsReload, Fresh, on_hangup
from authsvc.cli.running import ReadyFile, listening, make_world, run, settle
from authsvc.config import ConfiguredApp, Settings, is_loopback
from authsvc.config.apps import AppsFileProblem, Tables, judge_apps, read_tables
from authsvc.config.sections import Environment
from authsvc.sandbox import SANDBOX_APPS, SandboxServer
from authsvc.sandbox import World as SandboxWorld
from authsvc.storage import migrate

_DEFAULTS = {"env": Environment.DEV, "drain_wait": 0.0, "log_level": "info"}
_AUDIENCE_SCOPES = ("profile",)


@click.command("dev")
@click.option(
    "--data-dir",
    envvar="AUTHSVC_DATA_DIR",
    default=".authsvc",
    show_default=True,
    help="Where data and keys live",
)
@click.option(
    "--bind", default="", help="Bind every part to this address; beyond loopback with --accept-exposure only"
)
@click.option(
    "--wechat",
    type=click.Choice(["sandbox", "real"]),
    default="sandbox",
    show_default=True,
    help="Which WeChat to talk to",
)
@click.option("--app-id", default="", help="With --wechat real: the mini-program's AppID")
@click.option("--app-secret-file", default="", help="With --wechat real: file that holds its AppSecret")
@click.option(
    "--apps-from",
    default="",
    metavar="FILE",
    help="Apps file whose tables add to the built-in apps, or change what they say; SIGHUP reads it again",
)
@click.option("--quiet", is_flag=True, help="Print the addresses only, no walk-through")
@settings_options(
    "grpc_port", "http_port", "sandbox_port", "ops_port", "ready_file", "default_app", "issuer", "language",
    "hard_bound", "drain_wait", "stop_grace", "log_format", "log_level", "accept_exposure",
    "authenticate", "principals_file",
    drain_wait=0.0, default_app=SANDBOX_APPS[0].app_id,
)  # fmt: skip
def command(
    *,
    data_dir: str,
    bind: str,
    wechat: str,
    app_id: str,
    app_secret_file: str,
    apps_from: str,
    quiet: bool,
    **given: Any,
) -> None:
    """Run the whole service on this machine: database, WeChat sandbox, gRPC server, HTTP edge, operations."""
    hosts = dict.fromkeys(("grpc_host", "http_host", "ops_host", "sandbox_host"), bind) if bind else {}
    real = wechat == "real"
    if real and not (app_id and app_secret_file):
        raise click.UsageError("--wechat real needs --app-id and --app-secret-file")
    default_app = app_id if real else SANDBOX_APPS[0].app_id
    settings = read_settings({**given, **hosts}, default_app=default_app, **_DEFAULTS)
    if settings.env is not Environment.DEV:
        raise misconfigured(["env: `authsvc dev` runs in dev only; use `authsvc serve`"])
    for name in ("http_host", "ops_host", "sandbox_host"):
        if not is_loopback(getattr(settings, name)) and not settings.accept_exposure:
            raise misconfigured([f"{name}: beyond loopback needs --accept-exposure"])
    judge_trust(settings)
    world = make_world(settings, service="dev")
    directory = Path(data_dir)
    secrets = make_dev_secrets(directory, entropy=world.entropy, now=world.clock.now())
    development = Development(
        settings,
        directory=directory,
        secrets=secrets,
        world=world,
        tables=lambda base: _real_app(app_id, app_secret_file) if real else sandbox_tables(base),
        apps_file=apps_from,
        with_sandbox=not real,
    )
    ready = ReadyFile(settings.ready_file)

    async def main(stopping: asyncio.Event) -> None:
        try:
            addresses = await development.start()
            on_hangup(development.reload, stop=stopping.set)
            settle()
            ready.announce(addresses)
            click.echo(walkthrough.banner(addresses, directory))
            if not quiet:
                click.echo(walkthrough.text(addresses, default_app))
            await stopping.wait()
            click.echo("stopping")
        finally:
            ready.withdraw()
            await development.stop()

    run(main)


class Development:
    """All parts in one process; `start` returns where they listen, `stop` ends them in order."""

    def __init__(
        self,
        settings: Settings,
        *,
        directory: Path,
        secrets: Secrets,
        world: World,
        tables: Callable[[str], list[dict[str, Any]]],
        apps_file: str = "",
        with_sandbox: bool = True,
    ) -> None:
        self._settings = settings
        self._directory = directory
        self._secrets = secrets
        self._world = world
        self._tables = tables
        self._apps_file = apps_file
        self._with_sandbox = with_sandbox
        self._reload: AppsReload | None = None
        self._server: AuthServer | None = None
        self._stack = AsyncExitStack()

    async def start(self) -> dict[str, str]:
        """Start sandbox, server, edge and operations; whatever started is stopped again if one fails."""
        try:
            return await self._start()
        except BaseException:
            await self._stack.aclose()
            raise

    def reload(self) -> None:
        """Have the apps and the principals file read again, soon."""
        if self._reload is not None and self._server is not None:
            self._reload.asked.set()
            self._server.reread_callers()

    async def stop(self) -> None:
        """Stop everything. Idempotent."""
        await self._stack.aclose()

    async def _start(self) -> dict[str, str]:
        settings, world = self._settings, self._world
        addresses: dict[str, str] = {}
        sandbox_url = ""
        if self._with_sandbox:
            sandbox = SandboxServer(
                world=SandboxWorld(entropy=world.entropy),
                clock=world.clock,
                entropy=world.entropy,
                host=settings.sandbox_host,
                port=settings.sandbox_port,
            )
            with listening("the sandbox", host=settings.sandbox_host, port=settings.sandbox_port):
                await sandbox.start()
            self._stack.push_async_callback(sandbox.stop)
            sandbox_url = sandbox.base_url

        def read_apps() -> Fresh:
            return Fresh(_judge(self._tables(sandbox_url), self._apps_file, sandbox_url, settings))

        database = self._directory / "authsvc.db"
        await asyncio.to_thread(migrate, database)
        edge_key, callers = development_callers(self._directory, entropy=world.entropy)
        server = AuthServer(
            settings,
            apps=read_apps().apps,
            secrets=self._secrets,
            database=str(database),
            world=world,
            declared=callers,
        )
        addresses["grpc"] = await server.start()
        self._stack.push_async_callback(server.stop)
        self._server = server
        self._reload = AppsReload(server, read=read_apps, observer=world.telemetry)
        self._stack.callback(asyncio.ensure_future(self._reload.run()).cancel)
        audiences = sorted({audience for app in read_apps().apps for audience in app.policy().audiences})
        edge = Edge(
            settings,
            target=addresses["grpc"],
            world=world,
            audiences=audiences,
            credentials=Credentials(service_key=edge_key) if settings.asks_callers else Credentials(),
        )
        with listening("the edge", host=settings.http_host, port=settings.http_port):
            addresses["http"] = await edge.start()
        self._stack.push_async_callback(edge.stop)
        if self._with_sandbox:
            addresses["sandbox"] = sandbox_url
        ops = build_ops(
            settings, world=world, probes={**server.probes(), **edge.probes()}, notices=server.notices()
        )
        with listening("the operations listener", host=settings.ops_host, port=settings.ops_port):
            addresses["ops"] = await ops.start()
        self._stack.push_async_callback(ops.stop)
        return addresses


def sandbox_tables(base_url: str) -> list[dict[str, Any]]:
    """Return the sandbox's apps as the apps file would list them."""
    return [
        {
            "id": app.app_id,
            "secret": app.secret,
            "scopes": list(_AUDIENCE_SCOPES),
            "platform_group": app.open_platform or "",
            "wechat_url": base_url,
        }
        for app in SANDBOX_APPS
    ]


def _real_app(app_id: str, secret_file: str) -> list[dict[str, Any]]:
    return [{"id": app_id, "secret_file": secret_file, "scopes": list(_AUDIENCE_SCOPES)}]


def _judge(
    tables: list[dict[str, Any]], apps_file: str, wechat_url: str, settings: Settings
) -> tuple[ConfiguredApp, ...]:
    try:
        given, groups = read_tables(apps_file) if apps_file else ((), ())
        return judge_apps(
            _with(tables, given, wechat_url=wechat_url), groups=groups, environment=settings.env
        )
    except AppsFileProblem as problem:
        raise misconfigured(problem.complaints) from None


def _with(tables: list[dict[str, Any]], given: Tables, *, wechat_url: str) -> list[dict[str, Any]]:
    """Return the built-in tables with what the file says of them, then its own, which meet the sandbox by default."""
    default = {"wechat_url": wechat_url} if wechat_url else {}
    named = {table["id"]: table for table in tables}
    changed = {table.get("id"): table for table in given}
    return [
        *(_changed(table, changed.get(app_id, {})) for app_id, table in named.items()),
        *({**default, **table} for table in given if table.get("id") not in named),
    ]


def _changed(table: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    own = {name: value for name, value in table.items() if name != "secret" or not _names_secret(changes)}
    return {**own, **changes}


def _names_secret(table: Mapping[str, Any]) -> bool:
    return any(name == "secret" or name.startswith("secret_") for name in table)
