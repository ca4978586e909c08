"""What the files of the database must not hold, and what error texts must not say."""

from pathlib import Path

import pytest

from authsvc.domain.keyring import KeyRing
from authsvc.domain.login_code import hash_code
from authsvc.domain.refresh_token import spell
from authsvc.storage.engines import writing_engine
from tests.storage.conformance.codes import TTL
from tests.storage.conformance.world import MAC_KEY, World
from tests.storage.sqlite_backend import SqliteBackend


@pytest.fixture
def backend(tmp_path: Path, migrated_file: Path) -> SqliteBackend:
    return SqliteBackend(tmp_path, template=migrated_file)


async def test_no_token_nonce_or_code_in_the_files(world: World, backend: SqliteBackend) -> None:
    """Neither refresh tokens nor their nonces nor login codes are in any byte of the database's files."""
    ring = KeyRing(current_id=MAC_KEY, keys={MAC_KEY: b"k" * 32})
    login = await world.login(sealed=b"SEALED-SESSION-KEY")
    await world.rotate(login.token)
    await world.logout(login)
    await world.store.claim_code(app_id="wxa", code_hash=hash_code("THE-LOGIN-CODE"), ttl=TTL)
    files = list(backend.path.parent.glob("record.db*"))
    content = b"".join(file.read_bytes() for file in files)
    assert len(files) == 3
    assert b"SEALED-SESSION-KEY" in content, "the search would find what is there"
    assert login.token.nonce_hash in content
    for secret in (
        login.token.nonce,
        spell(login.token, ring=ring).encode(),
        spell(login.at(1), ring=ring).encode(),
        b"THE-LOGIN-CODE",
    ):
        assert secret not in content
    assert b"wxr1." not in content


def test_driver_texts_hide_parameters(migrated_file: Path) -> None:
    """Even inside the adapter an exception's text carries no bound values."""
    engine = writing_engine(migrated_file)
    with engine.connect() as connection, pytest.raises(Exception, match="parameters hidden") as caught:
        connection.exec_driver_sql("SELECT ? FROM nowhere", ("hunter2",))
    engine.dispose()
    assert "hunter2" not in str(caught.value)
