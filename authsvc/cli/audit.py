"""`authsvc audit`: follow the audit trail, prove that nobody changed it, and take it away as a file."""

import contextlib
import json
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TextIO, TypeVar

import click

from authsvc.cli.audit_files import (
    Unreadable,
    read_checkpoints,
    read_jwks,
    read_trail,
    write_batch,
    write_end,
    write_head,
)
from authsvc.cli.audit_judging import Demands, Verdict, judge_file, judge_store, read_all, withdrawals
from authsvc.cli.material import configured_database
from authsvc.cli.options import read_settings, settings_options
from authsvc.cli.record import with_store
from authsvc.domain.audit import AuditRow, Checkpoint
from authsvc.domain.audit_verification import KeptCheckpoint
from authsvc.ports import AuditEntry, AuditQuery, Store
from authsvc.system import SystemClock

T = TypeVar("T")
_PAGE = 500
_POLL = timedelta(seconds=1)
# A transaction takes its instant when it begins, so rows may appear so far behind the newest one.
_LATE = timedelta(seconds=10)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_INPUT = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group("audit")
def command() -> None:
    """Follow, verify or export the audit trail of the database."""


def _since(ctx: click.Context, param: click.Parameter, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        if text[-1:] in _UNITS and text[:-1].isdigit():
            return SystemClock().now() - timedelta(**{_UNITS[text[-1]]: int(text[:-1])})
        instant = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise click.BadParameter(
            "is neither an instant (2026-01-31T12:00:00Z) nor a duration (90s, 15m, 6h, 7d)", ctx, param
        ) from None
    return instant if instant.tzinfo is not None else instant.replace(tzinfo=UTC)


@command.command("tail")
@click.option("-f", "--follow", is_flag=True, help="Go on with rows as they are written")
@click.option("-n", "--lines", type=click.IntRange(0, 100_000), default=20, show_default=True)
@click.option("--user", default="", help="Only rows about this user, by any of their ids")
@click.option("--event", default="", help="Only this event; `user.*` means all that begin so")
@click.option("--by", default="", help="Only what this caller did")
@click.option(
    "--since",
    metavar="INSTANT|DURATION",
    callback=_since,
    help="Only rows from then on, all of them: an instant (UTC unless it says otherwise) or 15m, 6h, 7d",
)
@settings_options("env")
def tail(
    *, follow: bool, lines: int, user: str, event: str, by: str, since: datetime | None, **given: Any
) -> None:
    """Print the newest rows, one JSON object a line, oldest first."""
    query = AuditQuery(user_id=user, event=event, by=by, since=since, limit=lines, newest=since is None)

    async def show(store: Store) -> None:
        shown = _Shown()
        if since is None:
            shown.print(await store.list_audit(query) if lines else [])
            # What stands before them was left out on purpose, and is not late.
            await _print_all(store, AuditQuery(user, event, by, shown.again_from), shown, silently=True)
        else:
            await _print_all(store, query, shown)
        while follow:
            await SystemClock().sleep(_POLL)
            again = AuditQuery(user_id=user, event=event, by=by, since=shown.again_from)
            await _print_all(store, again, shown)

    with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):
        with_store(configured_database(read_settings(given)), show)


@command.command("verify")
@click.option("--file", "file", type=_INPUT, help="Judge this export instead of the database")
@click.option("--jwks", type=_INPUT, help="Believe only these public keys, not those of the database or file")
@click.option(
    "--checkpoints",
    type=_INPUT,
    help="Log lines that were kept elsewhere: each `audit.checkpoint` in them must be in the trail",
)
@click.option(
    "--from-checkpoint",
    metavar="BATCH:HASH",
    default="",
    help="Begin with this batch, whose chain hash (hex) was noted before; earlier ones are not looked at",
)
@settings_options("env", "audit_retention")
def verify(
    *, file: Path | None, jwks: Path | None, checkpoints: Path | None, from_checkpoint: str, **given: Any
) -> None:
    """
    Say whether anybody changed, removed, added or reordered anything; exit 1, with each place, if so.

    Without --checkpoints, a trail that lost its newest batches whole looks like a shorter one.
    """
    settings = read_settings(given)
    start, kept = _from_checkpoint(from_checkpoint)
    try:
        if checkpoints is not None:
            with checkpoints.open(encoding="utf-8", errors="replace") as log_lines:
                kept += read_checkpoints(log_lines)
        demands = Demands(
            keys=None if jwks is None else read_jwks(jwks.read_text(encoding="utf-8")),
            kept=kept,
            start=start,
            retention=timedelta(days=settings.audit_retention),
        )
        if file is not None:
            with file.open(encoding="utf-8") as exported:
                trail = read_trail(exported)
            verdict, whole = judge_file(trail, demands, now=SystemClock().now()), trail.complete
        else:
            verdict = with_store(configured_database(settings), lambda store: judge_store(store, demands))
            whole = True
    except (Unreadable, UnicodeDecodeError, OSError) as problem:
        raise click.ClickException(str(problem)) from None
    _tell(verdict, whole=whole, kept=len(kept))


@command.command("export")
@click.argument("path", type=click.Path(dir_okay=False, path_type=Path), default="-")
@settings_options("env")
def export(*, path: Path, **given: Any) -> None:
    """
    Write the whole trail to PATH (default: standard output), verifiable with `audit verify --file`.

    The file holds addresses and reasons of persons. That it was taken is in the trail.
    """
    database = configured_database(read_settings(given))
    if str(path) == "-":
        with_store(database, lambda store: _export(store, sys.stdout))
        return
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            with_store(database, lambda store: _export(store, file))
    except OSError as error:
        raise click.ClickException(f"{path}: {error.strerror}") from None


class _Shown:
    """What was printed lately, so that rows which appear late are printed once."""

    def __init__(self) -> None:
        self._ids: dict[str, datetime] = {}
        self._newest: datetime | None = None

    @property
    def again_from(self) -> datetime:
        """From when on rows may still appear; nothing was printed: from now on."""
        if self._newest is None:
            self._newest = SystemClock().now()
        return self._newest - _LATE

    def print(self, rows: Sequence[AuditRow], *, silently: bool = False) -> None:
        for row in rows:
            if row.audit_id in self._ids:
                continue
            if not silently:
                click.echo(json.dumps(_shown(row), ensure_ascii=False))
            self._ids[row.audit_id] = row.at
            self._newest = row.at if self._newest is None else max(self._newest, row.at)
        if self._newest is not None:
            oldest = self._newest - 2 * _LATE
            self._ids = {audit_id: at for audit_id, at in self._ids.items() if at >= oldest}


async def _print_all(store: Store, query: AuditQuery, shown: _Shown, *, silently: bool = False) -> None:
    after = None
    while True:
        page = await store.list_audit(
            AuditQuery(query.user_id, query.event, query.by, query.since, after, limit=_PAGE)
        )
        shown.print(page, silently=silently)
        if len(page) < _PAGE:
            return
        after = (page[-1].at, page[-1].audit_id)


def _shown(row: AuditRow) -> dict[str, object]:
    fields: dict[str, object] = {"at": row.at.isoformat(), "event": row.event, "by": row.by}
    for name in ("user_id", "app_id", "session_id", "ip", "reason", "request_id", "trace_id"):
        if value := getattr(row, name):
            fields[name] = value
    fields["details"] = json.loads(row.details)
    fields["batch"] = row.batch
    if row.is_erased:
        fields["erased"] = True
    return fields


async def _export(store: Store, file: TextIO) -> None:
    await store.record_audit([AuditEntry("audit.exported", "cli", ip="")])
    keys = await store.list_signing_keys()
    now = (await store.read_unsealed(grace=timedelta(0), limit=0)).now
    write_head(file, exported_at=now, keys=keys, withdrawn=withdrawals(keys))
    batches = rows = 0

    def take(_number: int, checkpoint: Checkpoint | None, found: Sequence[AuditRow]) -> None:
        nonlocal batches, rows
        write_batch(file, checkpoint, found)
        rows += len(found)
        batches += checkpoint is not None

    unsealed = (await read_all(store, take, after=0)).rows
    write_batch(file, None, unsealed)
    write_end(file, batches=batches, rows=rows + len(unsealed))
    file.flush()


def _from_checkpoint(text: str) -> tuple[int, list[KeptCheckpoint]]:
    if not text:
        return 1, []
    number, _, chain_hash = text.partition(":")
    try:
        kept = KeptCheckpoint(int(number), bytes.fromhex(chain_hash))
    except ValueError:
        raise click.UsageError("--from-checkpoint is a number, a colon and 64 hex digits") from None
    if kept.batch < 1 or len(kept.chain_hash) != 32:
        raise click.UsageError("--from-checkpoint is a number, a colon and 64 hex digits")
    return kept.batch, [kept]


def _tell(verdict: Verdict, *, whole: bool, kept: int) -> None:
    problems = [str(finding) for finding in verdict.findings]
    if not whole:
        problems.append("the file is not whole: its last line is missing, or counts otherwise")
    for problem in problems:
        click.echo(problem, err=True)
    click.echo(
        json.dumps(
            {
                "ok": not problems,
                "batches": verdict.batches,
                "first_batch": verdict.first_batch,
                "last_batch": verdict.last_batch,
                "rows": verdict.rows,
                "unsealed": verdict.unsealed,
                "checkpoints": kept,
                "findings": len(problems),
            }
        )
    )
    if problems:
        raise SystemExit(1)
