"""SQLite keeps every promise of ports.Store: the conformance suite on a file of its own."""

from pathlib import Path

import pytest

from tests.storage.conformance import *  # noqa: F403 - the suite's classes are what is collected here
from tests.storage.sqlite_backend import SqliteBackend


@pytest.fixture
def backend(tmp_path: Path, migrated_file: Path) -> SqliteBackend:
    return SqliteBackend(tmp_path, template=migrated_file)
