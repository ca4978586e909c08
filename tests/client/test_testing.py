"""What the package gives to other people's tests behaves as the real things do."""

import inspect
import json
from datetime import timedelta

import jwt
import pytest

import authsvc_client
from authsvc_client import (
    Active,
    CannotKnow,
    Cause,
    Inactive,
    InactiveReason,
    Settings,
    SyncTokenVerifier,
    SyncVerifier,
    TokenVerifier,
    Verifier,
    channel_options,
    testing,
)
from authsvc_client.testing import FakeAuthsvc, FakeSyncVerifier, FakeVerifier, TokenMint


async def test_a_fake_verifier_says_what_it_is_told() -> None:
    """
    Accepted, refused, unheard of, insufficient, unknowable: async and sync.
    """
    fake, sync = FakeVerifier(audience="orders"), FakeSyncVerifier(audience="orders")
    surface: TokenVerifier = fake
    blocking: SyncTokenVerifier = sync
    for one in (fake, sync):
        one.accept("good", user_id="bob", scopes=["a"])
        one.refuse("old", InactiveReason.EXPIRED)
    found = await surface.verify("good", scopes=["a"])
    assert isinstance(found, Active)
    assert found.user_id == "bob"
    assert blocking.verify("good", scopes=["a"]) == found
    assert await surface.verify("old") == Inactive(InactiveReason.EXPIRED)
    assert blocking.verify("?") == Inactive(InactiveReason.MALFORMED)
    assert await surface.verify("good", scopes=["b"]) == Inactive(InactiveReason.MISSING_SCOPE)
    assert await surface.verify("good", audience="x") == Inactive(InactiveReason.WRONG_AUDIENCE)
    assert (await surface.wait_for(7), blocking.wait_for(7), surface.age) == (True, True, timedelta(0))
    fake.cause = sync.cause = Cause.STALE
    for ask in (fake.check, sync.verify):
        with pytest.raises(CannotKnow):
            ask("good")
    assert (fake.is_ready, await fake.start(), sync.start(), sync.age) == (False, False, False, None)
    assert fake.asked == ["good", "old", "good", "good", "good"]


@pytest.mark.parametrize(("real", "fake"), [(Verifier, FakeVerifier), (SyncVerifier, FakeSyncVerifier)])
def test_fakes_have_the_surface_of_the_real_ones(real: type, fake: type) -> None:
    """
    Every public name of the real one, with the same parameters.
    """
    for name, member in inspect.getmembers(real):
        if name.startswith("_") and name not in {"__enter__", "__exit__", "__aenter__", "__aexit__"}:
            continue
        stand_in = getattr(fake, name)
        if callable(member):
            assert list(inspect.signature(stand_in).parameters) == list(inspect.signature(member).parameters)


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA", "RS256"])
def test_a_mint_makes_what_the_oracle_reads(algorithm: str) -> None:
    """
    PyJWT verifies a minted token by the mint's own JWKS, and the kid is the key's thumbprint.
    """
    mint = TokenMint(algorithm=algorithm)  # type: ignore[arg-type]
    token = mint.token("bob", audience="orders", scopes=["a"], extra=1)
    key = jwt.PyJWKSet.from_json(mint.jwks_json)[mint.kid]
    claims = jwt.decode(token, key.key, algorithms=[algorithm], audience="orders", issuer="authsvc")

    assert (claims["sub"], claims["scope"], claims["extra"]) == ("bob", "a", 1)
    assert jwt.get_unverified_header(token) == {"typ": "at+jwt", "alg": algorithm, "kid": mint.kid}


async def test_a_service_of_somebody_else_tests_against_the_fake_server() -> None:
    """
    As its author would: real time, real heartbeats, no clock to move.
    """
    settings = Settings(start_wait=timedelta(seconds=30))
    async with FakeAuthsvc() as fake, Verifier(fake.target, audience="orders", settings=settings) as verifier:
        token = fake.mint.token(audience="orders", session_id="A" * 22)
        assert isinstance(await verifier.verify(token), Active)
        assert await verifier.wait_for(fake.revoke_session("A" * 22), timeout=timedelta(seconds=30))
        assert not (await verifier.verify(token)).is_active


def test_the_shipped_service_config_is_the_one_for_all_clients() -> None:
    """
    The copy inside the package is `clients/service_config.json`.
    """
    from pathlib import Path

    shared = Path(__file__).parents[2] / "clients" / "service_config.json"
    options = dict(channel_options())

    packaged = json.loads(options["grpc.service_config"])
    assert packaged == json.loads(shared.read_text("utf-8")), f"copy {shared.name} into the package"


@pytest.mark.parametrize("module", [authsvc_client, testing])
def test_what_is_exported_is_all_there_is(module: object) -> None:
    """
    `__all__` is sorted (constants, classes, functions), complete and true.
    """
    names = list(getattr(module, "__all__"))  # noqa: B009 - of any module
    public = {
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    }

    assert names == sorted(names, key=lambda name: (not name.isupper(), name.islower(), name))
    assert set(names) == public | set(getattr(module, "_HOMES", ()))


@pytest.mark.parametrize(
    "choice",
    [
        {"hard_bound": timedelta(seconds=0.9)},
        {"hard_bound": timedelta(seconds=301)},
        {"when_stale": "open"},
        {"cache_bytes": -1},
        {"asks_waiting": -1},
        {"ask_timeout": timedelta(0)},
        {"fetch_timeout": timedelta(0)},
        {"start_wait": timedelta(seconds=-1)},
    ],
)
def test_settings_judge_themselves(choice: dict[str, object]) -> None:
    """
    A value outside of its range is refused when it is chosen, by its name.
    """
    with pytest.raises(ValueError, match=next(iter(choice))):
        Settings(**choice)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [Verifier, SyncVerifier])
def test_no_verifier_works_without_an_audience(kind: type) -> None:
    """
    An empty one is none.
    """
    with pytest.raises(ValueError, match="audience"):
        kind("127.0.0.1:1", audience="")
