"""
The SQLite file itself, seen from outside SQLite: is it still the one that was opened, and does anybody have it open.

SQLite notices neither a file that was moved over its own nor one that was copied into it; it would go on with what it
holds and acknowledge writes into a file that nobody will ever read (sqlite.org, "How To Corrupt An SQLite Database").
"""

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from authsvc.domain.errors import StoreUnavailable
from authsvc.storage.faults import unavailable

# Bytes 18 and 19 of the file, its write and read version (sqlite.org/fileformat.html): 2 while in WAL mode, which lasts
# as long as anybody has it open. Backups are in the other mode, so one that was copied into the file shows.
_VERSIONS_AT = 18
_WAL_VERSIONS = b"\x02\x02"
# Where SQLite's locks are (sqlite.org/src, os.h): every connection in WAL mode holds a shared lock on this range.
_SHARED_FIRST = 0x40000000 + 2
_SHARED_SIZE = 510

# One descriptor per file and process, because closing any would drop the locks of all (POSIX, fcntl).
_guard = threading.Lock()
_open: dict[tuple[int, int], tuple[int, int]] = {}


class InUse(Exception):
    """Some process has the database open."""


class DatabaseFile:
    """
    A file that stays open as long as a store uses it; make it before the first connection, close it after the last.

    Raises:
        StoreUnavailable: the file cannot be opened.

    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._was_wal = False
        self._replaced = False
        self._closed = False
        try:
            self._identity, self._descriptor = _share(path)
        except OSError as error:
            raise unavailable(error) from None

    def check(self) -> None:
        """
        Return if the file is still the one that was opened, or was closed being so. Some 3 µs.

        Raises:
            StoreUnavailable: it was replaced or removed, now or at an earlier check: only a new start helps.

        """
        self._replaced = self._replaced or not (self._closed or self._is_ours())
        if self._replaced:
            raise StoreUnavailable("the database file was replaced while it was in use")

    def close(self) -> None:
        """Let go of the file. Idempotent."""
        if self._closed:
            return
        self._closed = True
        with _guard:
            descriptor, users = _open.pop(self._identity)
            if users > 1:
                _open[self._identity] = (descriptor, users - 1)
            else:
                os.close(descriptor)

    def _is_ours(self) -> bool:
        try:
            found = self._path.stat()
            versions = os.pread(self._descriptor, len(_WAL_VERSIONS), _VERSIONS_AT)
        except OSError:
            return False
        if versions == _WAL_VERSIONS:
            self._was_wal = True
        return (found.st_dev, found.st_ino) == self._identity and (
            versions == _WAL_VERSIONS or not self._was_wal
        )


def _share(path: Path) -> tuple[tuple[int, int], int]:
    """Return the file's identity and this process's descriptor for it, counted as used once more."""
    with _guard:
        found = path.stat()
        identity = (found.st_dev, found.st_ino)
        descriptor, users = _open.get(identity, (-1, 0))
        if not users:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        _open[identity] = (descriptor, users + 1)
    return identity, descriptor


@contextmanager
def held_alone(path: Path) -> Iterator[None]:
    """
    Keep every other process from opening the database while the block runs.

    This process must have no connection to it. It works on a damaged file too: the locks are on its name's bytes,
    whatever they hold.

    Raises:
        InUse: somebody has it open.
        OSError: the file cannot be opened.

    """
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, _SHARED_SIZE, _SHARED_FIRST)
        except (BlockingIOError, PermissionError):  # EAGAIN or EACCES, by system (POSIX, fcntl)
            raise InUse from None
        yield
    finally:
        os.close(descriptor)
