"""Databases of every released schema are brought to the present one, and lose nothing."""

import contextlib
import sqlite3
from datetime import timedelta
from pathlib import Path

import pytest

from authsvc.domain import refresh_token
from authsvc.domain.apps import App
from authsvc.domain.ids import encode_id
from authsvc.domain.sessions import ClientInfo, EndReason
from authsvc.ports import Rotation, Split
from authsvc.storage import SchemaState, SqliteStore, migrate, schema_state
from authsvc.storage.versions import REVISIONS
from tests.fakes import FakeClock, SeededEntropy

RELEASED = Path(__file__).parent / "released"
APP = App("wx00000000000000d1", ("wx00000000000000d1",))


def test_every_revision_has_a_released_database() -> None:
    """
    Whoever adds a revision adds the dump of a database that the release before it wrote.
    """
    assert {path.stem for path in RELEASED.glob("*.sql")} == set(REVISIONS)


@pytest.mark.parametrize("revision", REVISIONS)
async def test_it_is_migrated_and_goes_on(tmp_path: Path, revision: str) -> None:
    """
    Users, sessions, facts, claims and keys of the old database answer as before, and its refresh tokens rotate.
    """
    path = tmp_path / "old.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript((RELEASED / f"{revision}.sql").read_text(encoding="utf-8"))
    migrate(path)
    assert schema_state(path) is SchemaState.CURRENT

    clock = FakeClock()
    store = await SqliteStore.open(path, clock=clock, entropy=SeededEntropy(9))
    line = refresh_token.first_token(b"\x01" * 16, nonce=b"\x0b" * 16, key_id=b"kkkk")
    rotated = await store.rotate(
        line, apps={APP.app_id: APP}, mac_key_id=b"kkkk", jitter=0.0, client=ClientInfo()
    )
    assert isinstance(rotated.value, Rotation)
    ended = await store.get_session(encode_id(b"\x02" * 16))
    assert ended is not None
    assert ended.ended is not None
    assert ended.ended.reason is EndReason.LOGOUT
    head, facts = await store.read_live(after=0, limit=10)
    assert (head.position, [fact.position for fact in facts]) == (2, [1, 2])
    assert not await store.claim_code(app_id=APP.app_id, code_hash=b"h" * 32, ttl=timedelta(minutes=10))
    assert [key.state for key in await store.list_signing_keys()] == ["active"]
    await store.close()


@pytest.mark.parametrize("revision", [revision for revision in REVISIONS if revision >= "0002"])
async def test_what_was_merged_then_can_be_undone(tmp_path: Path, revision: str) -> None:
    """
    A merged user of the old database is found under both ids, and gets back what the merge moved.
    """
    path = tmp_path / "old.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript((RELEASED / f"{revision}.sql").read_text(encoding="utf-8"))
    migrate(path)
    store = await SqliteStore.open(path, clock=FakeClock(), entropy=SeededEntropy(9))
    survivor_id, moved_id = encode_id(b"\x17" * 16), encode_id(b"\x18" * 16)
    person = await store.get_user(moved_id)
    assert person is not None
    assert (person.user_id, person.previous_ids, person.roles) == (survivor_id, (moved_id,), ("vip",))
    outcome = (await store.split_user(moved_id, by="op", reason="")).value
    assert isinstance(outcome, Split)
    assert (outcome.user.user_id, outcome.user.external_id, outcome.user.roles) == (
        moved_id,
        "crm-17",
        ("vip",),
    )
    assert (outcome.survivor.external_id, outcome.survivor.roles) == (None, ())
    moved = await store.get_person(moved_id)
    assert moved is not None
    assert [identity.openid for identity in moved.identities] == ["openid-3"]
    await store.close()
