"""`authsvc service-keys`: make, list and revoke what callers without a certificate prove themselves with."""

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, TypeVar

import click

from authsvc.cli.ids import GroupWithIds
from authsvc.cli.material import configured_database
from authsvc.cli.options import misconfigured, read_settings, settings_options
from authsvc.cli.own_callers import new_key
from authsvc.cli.record import with_store
from authsvc.config import Settings
from authsvc.config.principals import PrincipalsFileProblem, load_principals
from authsvc.domain.principals import Declared, Role, check_declared, check_name
from authsvc.ports import Store
from authsvc.system import SystemClock, SystemEntropy

T = TypeVar("T")
# Who did it, as the record tells: a person with the database's URL.
_BY = "cli"


@click.group("service-keys", cls=GroupWithIds)
def command() -> None:
    """Make, list or revoke service keys (they work on the database; servers may run)."""


@command.command("create")
@click.argument("principal")
@click.option(
    "--role",
    "roles",
    multiple=True,
    type=click.Choice([role.value for role in Role]),
    help="What a principal that is not known yet may do; may be given several times",
)
@click.option("--audience", "audiences", multiple=True, help="An audience of its own; a verifier needs one")
@click.option("--app", "apps", multiple=True, help="An app to which it is limited; none: every app")
@click.option("--expires", default="", help="When the key ends: 90d, or 2027-01-31; by default never")
@settings_options("env", "principals_file")
def create(
    *,
    principal: str,
    roles: Sequence[str],
    audiences: Sequence[str],
    apps: Sequence[str],
    expires: str,
    **given: Any,
) -> None:
    """
    Make a key for PRINCIPAL and print it, once: it is kept as a hash only.

    With --role a principal of that name is recorded; without, it has to be known: recorded before, or declared in
    the principals file.
    """
    settings = read_settings(given)
    declared = principal in {one.name for one in _declared(settings)}
    if declared and (roles or audiences or apps):
        raise misconfigured([f"{principal}: is declared in the principals file; give neither roles nor apps"])
    described = Declared(
        principal, frozenset(Role(role) for role in roles), frozenset(audiences), frozenset(apps)
    )
    complaints = list(check_declared(described) if roles else check_name(principal))
    if complaints:
        raise misconfigured(complaints)
    expires_at = _expiry(expires)
    text, record = new_key(principal, entropy=SystemEntropy())
    record = replace(record, expires_at=expires_at)

    async def add(store: Store) -> None:
        known = {one.name: one for one in (await store.read_callers()).principals}.get(principal)
        if known is not None and roles and known != described:
            raise click.ClickException(
                f"{principal} is recorded with other roles, audiences or apps; revoke it with "
                "`service-keys revoke --principal` first"
            )
        if known is None and not roles and not declared:
            raise click.ClickException(
                f"{principal} is neither recorded nor declared in a principals file; give --role"
            )
        await store.add_service_key(record, principal=described if roles else None, by=_BY)

    _with_store(settings, add)
    click.echo(text)


@command.command("generate")
@click.option("--expires", default="", help="When the key ends: 90d, or 2027-01-31; by default never")
def generate(*, expires: str) -> None:
    """
    Make a key for a principal of the principals file: prints it, once, and on standard error its line of the file.

    Nothing is recorded anywhere.
    """
    expires_at = _expiry(expires)
    text, record = new_key("", entropy=SystemEntropy())
    end = "" if expires_at is None else f", expires = {expires_at.isoformat()}"
    click.echo(f'keys = [{{ id = "{record.key_id}", sha256 = "{record.secret_hash.hex()}"{end} }}]', err=True)
    click.echo(text)


@command.command("list")
@settings_options("env")
def list_keys(**given: Any) -> None:
    """List principals of the record and all keys, one JSON object a line. Nothing in it proves anything."""
    settings = read_settings(given)
    records = _with_store(settings, lambda store: store.read_callers())
    for principal in records.principals:
        _print(
            principal=principal.name,
            roles=sorted(principal.roles),
            audiences=sorted(principal.audiences),
            apps=sorted(principal.apps),
        )
    for key in records.keys:
        _print(
            key_id=key.key_id,
            principal=key.principal,
            created_at=_text(key.created_at),
            created_by=key.created_by,
            expires_at=_text(key.expires_at),
            revoked_at=_text(key.revoked_at),
            revoked_by=key.revoked_by,
        )


@command.command("revoke")
@click.argument("key_id", required=False)
@click.option("--principal", default="", help="Every key of this principal, and what is recorded of it")
@settings_options("env")
def revoke(*, key_id: str | None, principal: str, **given: Any) -> None:
    """
    Revoke a key by its id (the part between the dots), or all of a principal. Servers know within a second.

    A principal that a file declares is not withdrawn by this: take it out of the file.
    """
    if bool(key_id) == bool(principal):
        raise click.UsageError("give KEY_ID or --principal")
    settings = read_settings(given)

    async def end(store: Store) -> int:
        if principal:
            ended = (await store.withdraw_principal(principal, by=_BY)).value
            if ended is None:
                raise click.ClickException(f"{principal}: there is no such principal, and no key of it")
            return ended
        if not (await store.revoke_service_key(key_id or "", by=_BY)).value:
            raise click.ClickException("there is no such key")
        return 1

    click.echo(json.dumps({"revoked": _with_store(settings, end)}))


def _declared(settings: Settings) -> tuple[Declared, ...]:
    try:
        return load_principals(settings.principals_file) if settings.principals_file else ()
    except PrincipalsFileProblem as problem:
        raise misconfigured(problem.complaints) from None


def _expiry(text: str) -> datetime | None:
    if not text:
        return None
    now = SystemClock().now()
    try:
        if text.endswith("d"):
            end = now + timedelta(days=int(text[:-1]))
        else:
            day = date.fromisoformat(text)
            end = datetime(day.year, day.month, day.day, tzinfo=UTC)
    except (ValueError, OverflowError):
        raise click.UsageError("--expires: give days (90d) or a date (2027-01-31)") from None
    if end <= now:
        raise click.UsageError("--expires: is over already")
    return end


def _with_store(settings: Settings, act: Callable[[Store], Awaitable[T]]) -> T:
    return with_store(configured_database(settings), act)


def _print(**fields: object) -> None:
    click.echo(json.dumps(fields, ensure_ascii=False))


def _text(instant: datetime | None) -> str | None:
    return None if instant is None else instant.isoformat()
