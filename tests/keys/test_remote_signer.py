"""The signer port suffices for a key that no file holds: one in another process signs logins over a socket."""

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from authsvc.domain.errors import LoginCodeSpent, StoreUnavailable
from authsvc.service.verify import Refusal
from tests.keys.remote_signer import RemoteKeys
from tests.support.core import Core, build_core

_ROOT = Path(__file__).parents[2]


@contextmanager
def signing_process() -> Iterator[tuple["subprocess.Popen[str]", str, str]]:
    """The process, its public JWK, and the path it listens on (short: sockets have short paths)."""
    with tempfile.TemporaryDirectory(prefix="sign-") as folder:
        path = f"{folder}/s"
        process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-m", "tests.keys.remote_signer", path],
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().strip(), path
        finally:
            process.kill()
            process.communicate()


async def adopted(core: Core, jwk: str, path: str) -> RemoteKeys:
    """Let the other process's key be the active one; the file's key stays behind as retired."""
    remote = RemoteKeys(jwk, path=path, created_at=core.clock.now())
    (record,) = remote.local_keys()
    await core.store.real.add_signing_key(record)
    await core.store.real.activate_key(record.kid, published_for=timedelta(0), by="operator")
    core.clock.advance(timedelta(seconds=1))
    await core.keys.refresh()
    assert await core.keys.adopt(remote)
    return remote


async def test_logins_are_signed_elsewhere(tmp_path: Path) -> None:
    """
    Tokens of logins and refreshes at once carry that key's id and are active; the private key never was in this process.
    """
    async with build_core(tmp_path) as core:
        with signing_process() as (_, jwk, path):
            remote = await adopted(core, jwk, path)
            (record,) = remote.local_keys()
            logins = await asyncio.gather(*(core.login(f"user-{n}") for n in range(8)))
            tokens = [login.tokens.access_token for login in logins]
            tokens.append((await core.refresh(logins[0].tokens.refresh_token)).tokens.access_token)

            assert core.signer.header.kid == record.kid
            for token in tokens:
                assert not isinstance(await core.judge(token), Refusal)
            assert record.kid in core.keys.jwks_json


async def test_a_signer_that_is_gone_is_unavailable_and_costs_no_session(tmp_path: Path) -> None:
    """
    Its process is killed: a refresh is UNAVAILABLE and the same token refreshes later; a login's code is spent.
    """
    async with build_core(tmp_path) as core:
        with signing_process() as (process, jwk, path):
            await adopted(core, jwk, path)
            login = await core.login()
            process.kill()
            process.wait()
            with pytest.raises(StoreUnavailable, match="signer"):
                await core.refresh(login.tokens.refresh_token)
            with pytest.raises(LoginCodeSpent):
                await core.login("bob")
        with signing_process() as (_, jwk, path):
            await adopted(core, jwk, path)
            again = await core.refresh(login.tokens.refresh_token)
            assert again.rotation.session.session_id == login.opened.session.session_id
            assert not isinstance(await core.judge(again.tokens.access_token), Refusal)
