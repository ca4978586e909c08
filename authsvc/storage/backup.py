"""
Copies of a SQLite database that is in use, and putting one back (docs/operations/backup.md).

For PostgreSQL its own tools do this; `SqlStore.begin_incarnation` then says by hand what `restore` says here.
"""

import asyncio
import os
import sqlite3
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import select

from authsvc.domain.errors import StoreUnavailable
from authsvc.domain.revocations import LogHead
from authsvc.domain.sessions import EndReason
from authsvc.ports import Clock, Entropy
from authsvc.storage.database_file import InUse, held_alone
from authsvc.storage.engines import reading
from authsvc.storage.faults import DRIVER_ERRORS
from authsvc.storage.schema import identities, log_head
from authsvc.storage.sqlite import SqliteStore
from authsvc.storage.versions import SchemaNotCurrent, SchemaState, migrate, schema_state

_COMPANIONS = ("", "-wal", "-shm")
# How long the first look waits for a database that another process is recovering.
_PATIENCE_S = 5.0


class BackupProblem(Exception):
    """The backup or restore was not done, and nothing was changed; the text says why."""


@dataclass(frozen=True, slots=True)
class BackedUp:
    """A verified copy: its size and, where the schema is this release's, where its log stands."""

    size: int
    schema: SchemaState
    head: LogHead | None


@dataclass(frozen=True, slots=True)
class Restored:
    """What was put back: the log's new head, where the replaced database is kept, and which apps were revoked."""

    head: LogHead
    kept_aside: Path | None
    revoked_apps: tuple[str, ...]


def back_up(source: Path, target: Path, *, entropy: Entropy) -> BackedUp:
    """
    Copy the database into a new file, as one moment saw it, while others write.

    The copy is readable by its owner only, complete in one file, checked by `PRAGMA integrity_check` and on the disk
    when this returns. Writers are not held up; until it is done SQLite's log file grows by what they write.

    Raises:
        BackupProblem: the target exists (nothing is ever overwritten), there is no database, or the copy is damaged.

    """
    with _problems("the backup"):
        _require_database(source)
        try:
            os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except FileExistsError:
            raise BackupProblem(f"{target} exists; a backup never overwrites") from None
        draft = _draft(target, entropy)
        try:
            _copy(source, draft, mode="rw")
            state = schema_state(draft)
            head = _head(draft) if state is SchemaState.CURRENT else None
            draft.replace(target)
        except BaseException:
            _discard(draft)
            target.unlink(missing_ok=True)
            raise
        _sync_directory(target)
        return BackedUp(size=target.stat().st_size, schema=state, head=head)


def restore(
    source: Path,
    target: Path,
    *,
    clock: Clock,
    entropy: Entropy,
    revoke_for: timedelta | None = None,
) -> Restored:
    """
    Put a copy in the database's place, at this release's schema and in a new incarnation of the log.

    The new incarnation begins above the backup's head and, if the replaced database can still be read, above that
    one's. The replaced files are kept beside it under other names. With *revoke_for* (the longest life of an access
    token) every session of every app that either database knows is revoked as STORE_RESTORED. All is made ready in
    a draft; the exchange itself is two renames, during which no other process can open the database.

    Raises:
        BackupProblem: somebody has the database open, or the source is no sound database of ours.

    """
    with _problems("the restore"):
        _require_database(source)
        if target.exists():
            if source.samefile(target):
                raise BackupProblem("the backup and the database are the same file")
            with _alone(target):
                pass  # told at once, not after minutes of copying
        if schema_state(source) is SchemaState.NEWER:
            raise SchemaNotCurrent(SchemaState.NEWER)
        replaced_head, replaced_apps = _what_was_there(target)
        draft = _draft(target, entropy)
        try:
            _copy(source, draft, mode="ro")
            migrate(draft)
            apps = sorted({*_apps(draft), *replaced_apps})
            head = asyncio.run(
                _begin_anew(
                    draft,
                    above=0 if replaced_head is None else replaced_head.position,
                    apps=apps,
                    revoke_for=revoke_for,
                    clock=clock,
                    entropy=entropy,
                )
            )
            _sync(draft)
            stamp = f"{clock.now():%Y%m%dT%H%M%SZ}-{entropy.token_bytes(2).hex()}"
            aside = _exchange(draft, target, suffix=f".replaced-{stamp}")
        except BaseException:
            _discard(draft)
            raise
        return Restored(head, aside, tuple(apps) if revoke_for is not None else ())


async def _begin_anew(
    draft: Path,
    *,
    above: int,
    apps: list[str],
    revoke_for: timedelta | None,
    clock: Clock,
    entropy: Entropy,
) -> LogHead:
    async with AsyncExitStack() as stack:
        store = await SqliteStore.open(draft, clock=clock, entropy=entropy)
        stack.push_async_callback(store.close)
        await store.begin_incarnation(above=above)
        if revoke_for is not None:
            for app_id in apps:
                await store.end_app_sessions(
                    app_id, reason=EndReason.STORE_RESTORED, by="restore", longest_lifetime=revoke_for
                )
        return await store.read_head()


def _exchange(draft: Path, target: Path, *, suffix: str) -> Path | None:
    """Move what is there aside, all of it together, and the draft into its place; undone if that fails."""
    moved: list[tuple[Path, Path]] = []
    with ExitStack() as stack:
        if target.exists():
            stack.enter_context(_alone(target))
        try:
            # A log file without its database would be taken for the new one's.
            for companion in _COMPANIONS:
                there = Path(f"{target}{companion}")
                if there.exists():
                    aside = Path(f"{target}{suffix}{companion}")
                    there.rename(aside)
                    moved.append((there, aside))
            draft.rename(target)
        except BaseException:
            for there, aside in reversed(moved):
                aside.rename(there)
            raise
        _sync_directory(target)
    return moved[0][1] if moved else None


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    try:
        with held_alone(target):
            yield
    except InUse:
        raise BackupProblem(f"a process has {target} open: stop every server first") from None


def _require_database(path: Path) -> None:
    if not path.is_file() or schema_state(path) is SchemaState.EMPTY:
        raise BackupProblem(f"{path} is no database of authsvc")


def _copy(source: Path, draft: Path, *, mode: str) -> None:
    os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    url = f"file:{quote(str(source.absolute()))}?mode={mode}"
    with (
        closing(sqlite3.connect(url, uri=True, isolation_level=None, timeout=_PATIENCE_S)) as origin,
        closing(sqlite3.connect(draft, isolation_level=None)) as copy,
    ):
        origin.backup(copy)  # in one step, so in one snapshot, however much is written meanwhile
        # Out of WAL mode: one file, readable also where nothing can be written beside it.
        copy.execute("PRAGMA journal_mode=DELETE")
        (found,) = copy.execute("PRAGMA integrity_check(1)").fetchone()
    if found != "ok":
        raise BackupProblem(f"{source} is damaged: its copy does not pass the integrity check")
    _sync(draft)


def _what_was_there(target: Path) -> tuple[LogHead | None, list[str]]:
    """Return what the database that is to be replaced still tells; it may be the very damage that is repaired."""
    if not target.exists():
        return None, []
    try:
        return _head(target), _apps(target)
    except StoreUnavailable:
        return None, []


def _head(path: Path) -> LogHead | None:
    """Return where the log stands; None in a database that no store has opened yet."""
    columns = select(log_head.c.incarnation, log_head.c.position, log_head.c.compacted_through)
    with reading(path) as connection:
        row = connection.execute(columns).one_or_none()
    return None if row is None else LogHead(*row)


def _apps(path: Path) -> list[str]:
    with reading(path) as connection:
        return list(connection.execute(select(identities.c.app_id).distinct()).scalars())


def _draft(target: Path, entropy: Entropy) -> Path:
    return target.with_name(f".{target.name}.{entropy.token_bytes(4).hex()}.partial")


def _discard(draft: Path) -> None:
    for companion in (*_COMPANIONS, "-journal"):
        Path(f"{draft}{companion}").unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_directory(path: Path) -> None:
    with suppress(OSError):  # not every file system can
        _sync(path.absolute().parent)


@contextmanager
def _problems(what: str) -> Iterator[None]:
    try:
        yield
    except (StoreUnavailable, *DRIVER_ERRORS) as error:
        raise BackupProblem(f"{what} failed: {_kind(error)}") from None


def _kind(error: BaseException) -> str:
    if isinstance(error, StoreUnavailable):
        return str(error)
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return getattr(error, "sqlite_errorname", None) or type(error).__name__
