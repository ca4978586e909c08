"""`authsvc keys status|rotate|activate|withdraw`: the life of signing keys, in the record, while servers run."""

import getpass
import json
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

import click

from authsvc.cli.material import configured_database, configured_signing_keys
from authsvc.cli.options import read_settings, settings_options
from authsvc.cli.record import with_store
from authsvc.config import Settings
from authsvc.domain.signing_keys import (
    PUBLISHED_AHEAD,
    KeyLife,
    KeyProblemKind,
    KeyState,
    NotActivated,
    active,
    successor,
)
from authsvc.ports import SigningKeyRecord, Store
from authsvc.system import SystemClock

T = TypeVar("T")

_REFUSED = {
    KeyProblemKind.UNKNOWN: "there is no such key",
    KeyProblemKind.NONE_PREPARED: "no key is prepared: make one with `authsvc keys generate`, and let servers take it (SIGHUP)",
    KeyProblemKind.NOT_PREPARED: "only a prepared key becomes active",
}
_NOW = click.option(
    "--now",
    is_flag=True,
    help="Also if it was published too short a time ago: verifiers may refuse its tokens until they read the keys",
)
_ELSEWHERE = click.option(
    "--held-elsewhere", is_flag=True, help="Also if it is not among the signing keys configured here"
)


@click.command("status")
@settings_options("env", "signing_keys_dir")
def status(**given: Any) -> None:
    """
    Print every signing key of the record, oldest first, as JSON: state, since when, and whether it may follow.

    `held_here` is about the signing keys that are configured for this very command (null: none are). Which servers hold
    a private half is not in the record: each tells by the metric authsvc_signing_keys_missing and at /readyz.
    """
    settings = read_settings(given)
    held = _held_here(settings)
    records = _with_store(settings, lambda store: store.list_signing_keys())
    now = SystemClock().now()
    for record in records:
        click.echo(json.dumps(_row(record, now=now, held=held)))
    lives = _lives(records)
    if active(lives) is None:
        click.echo("no key is active: logins and refreshes are refused", err=True)
    if successor(lives) is None:
        click.echo(
            "no key is prepared to follow the active one; make one with `authsvc keys generate`", err=True
        )


@click.command("rotate")
@_NOW
@_ELSEWHERE
@settings_options("env", "signing_keys_dir")
def rotate(*, now: bool, held_elsewhere: bool, **given: Any) -> None:
    """
    Make the oldest prepared key the active one; servers that run sign with it within a second.

    The one before is retired: its tokens are good until they expire, and it stays published that long. Refused while the
    prepared key has been published for less than the longest cache of a verifier (6 minutes).
    """
    _activate(read_settings(given), "", now=now, held_elsewhere=held_elsewhere)


@click.command("activate")
@click.argument("kid")
@_NOW
@_ELSEWHERE
@click.option(
    "--at",
    type=click.DateTime(["%Y-%m-%dT%H:%M:%S%z"]),
    help="Not now but then, e.g. 2030-01-31T04:00:00+0000: by a server that holds the key",
)
@click.option("--not-by-itself", is_flag=True, help="Take a time back that was given with --at")
@settings_options("env", "signing_keys_dir")
def activate(
    *, kid: str, now: bool, held_elsewhere: bool, at: datetime | None, not_by_itself: bool, **given: Any
) -> None:
    """Make this prepared key the active one, as `rotate` does, now or at a given time."""
    settings = read_settings(given)
    if at is None and not not_by_itself:
        _activate(settings, kid, now=now, held_elsewhere=held_elsewhere)
        return
    if at is not None and not_by_itself:
        raise click.UsageError("--at and --not-by-itself exclude each other")
    if not _with_store(settings, lambda store: store.schedule_key(kid, at=at, by=_operator())):
        raise click.ClickException("there is no such prepared key")
    click.echo(json.dumps({"kid": kid, "activate_at": _text(at)}))


@click.command("withdraw")
@click.argument("kid")
@click.option("--yes", is_flag=True, help="Do not ask")
@click.option(
    "--stop-issuing",
    is_flag=True,
    help="Also if no key is prepared to follow: logins and refreshes are refused until one comes",
)
@settings_options("env")
def withdraw(*, kid: str, yes: bool, stop_issuing: bool, **given: Any) -> None:
    """
    Withdraw a key for ever, because its private half may be in other hands. Every token it signed is refused.

    Servers and verifiers that follow the revocation log know it within a second. Sessions live: clients refresh, and get
    tokens of the key that is active then. Of the active key, the oldest prepared one becomes active with it.
    """
    settings = read_settings(given)
    found = _find(
        _lives(_with_store(settings, lambda store: store.list_signing_keys())), kid, stop_issuing=stop_issuing
    )
    if not yes:
        click.confirm(f"Withdraw the {found.state} key {kid} for ever?", abort=True, err=True)

    async def act(store: Store) -> tuple[int, Sequence[SigningKeyRecord]]:
        written = await store.write_key_withdrawal(kid, by=_operator())
        return written.head.position, await store.list_signing_keys()

    position, records = _with_store(settings, act)
    now_active = active(_lives(records))
    click.echo(
        json.dumps(
            {"withdrawn": kid, "position": position, "active": None if now_active is None else now_active.kid}
        )
    )


def wants(settings: Settings) -> str:
    """
    Return what the record's signing keys lack, for `doctor`; nothing if all is well, or no server ever started there.

    Raises:
        click.ClickException: the record cannot be read.

    """
    lives = _lives(_with_store(settings, lambda store: store.list_signing_keys()))
    held = _held_here(settings)
    standing, follows = active(lives), successor(lives)
    if not lives:
        return ""
    if standing is None:
        return "no key is active: logins and refreshes are refused; make one with `authsvc keys generate`"
    if held is not None and standing.kid not in held:
        return f"the active key {standing.kid} is not among those configured here: this machine verifies and does not issue"
    if follows is None:
        return "no key is prepared to follow the active one: make one with `authsvc keys generate`"
    if held is not None and follows.kid not in held:
        return (
            f"the next key {follows.kid} is not among those configured here: copy its file before you rotate"
        )
    return ""


def _find(lives: Sequence[KeyLife], kid: str, *, stop_issuing: bool) -> KeyLife:
    found = next((life for life in lives if life.kid == kid), None)
    if found is None:
        raise click.ClickException("there is no such key")
    if found.state is KeyState.ACTIVE and successor(lives) is None and not stop_issuing:
        raise click.ClickException(
            "it is the active key, and none is prepared to follow: logins and refreshes would be refused. Make one with "
            "`authsvc keys generate` and let servers take it (SIGHUP), or say --stop-issuing"
        )
    return found


def _activate(settings: Settings, kid: str, *, now: bool, held_elsewhere: bool) -> None:
    held = _held_here(settings)
    published_for = timedelta(0) if now else PUBLISHED_AHEAD

    async def act(store: Store) -> Sequence[str] | NotActivated:
        chosen = kid or (getattr(successor(_lives(await store.list_signing_keys())), "kid", ""))
        if chosen and held is not None and chosen not in held and not held_elsewhere:
            raise click.ClickException(
                f"{chosen} is not among the signing keys configured here, and whoever does not hold the active key does "
                "not issue; if the servers hold it, say --held-elsewhere"
            )
        return await store.activate_key(chosen, published_for=published_for, by=_operator())

    outcome = _with_store(settings, act)
    if isinstance(outcome, NotActivated):
        raise click.ClickException(_why(outcome))
    click.echo(json.dumps({"active": outcome[0], "retired": list(outcome[1:])}))


def _why(refused: NotActivated) -> str:
    if refused.problem is not KeyProblemKind.TOO_YOUNG:
        return _REFUSED[refused.problem]
    return (
        f"{refused.kid} has not been published for long enough: verifiers may not know it for another "
        f"{refused.wait.total_seconds():.0f} s; wait, or say --now"
    )


def _row(record: SigningKeyRecord, *, now: datetime, held: frozenset[str] | None) -> dict[str, object]:
    instants = {
        name: _text(getattr(record, name))
        for name in (
            "created_at",
            "published_at",
            "activate_at",
            "activated_at",
            "retired_at",
            "withdrawn_at",
        )
    }
    row: dict[str, object] = {"kid": record.kid, "alg": record.alg, "state": record.state}
    row |= {name: text for name, text in instants.items() if text is not None}
    since = {
        KeyState.ACTIVE: record.activated_at or record.created_at,
        KeyState.RETIRED: record.retired_at,
        KeyState.WITHDRAWN: record.withdrawn_at,
    }.get(KeyState(record.state) if record.state in set(KeyState) else KeyState.PREPARED, record.created_at)
    row["age_days"] = None if since is None else round((now - since) / timedelta(days=1), 1)
    if record.state == KeyState.PREPARED:
        row["may_follow"] = record.life().published_for(now) >= PUBLISHED_AHEAD
    row["held_here"] = None if held is None else record.kid in held
    return row


def _text(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()


def _lives(records: Sequence[SigningKeyRecord]) -> list[KeyLife]:
    """Return the lives of those whose state this release knows."""
    return [record.life() for record in records if record.state in set(KeyState)]


def _held_here(settings: Settings) -> frozenset[str] | None:
    """Return the ids of the signing keys configured here; None if none are."""
    if not settings.signing_keys_dir and settings.signing_keys is None:
        return None
    return frozenset(record.kid for record in configured_signing_keys(settings).local_keys())


def _operator() -> str:
    """Return whom the audit trail names."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):  # a user id without a name
        return "cli"


def _with_store(settings: Settings, act: Callable[[Store], Awaitable[T]]) -> T:
    return with_store(configured_database(settings), act)
