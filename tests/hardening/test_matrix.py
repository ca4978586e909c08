"""Every kind of token we mint against every verifier we have: only the diagonal passes."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import timedelta
from pathlib import Path

import pytest

from authsvc.domain import audit, refresh_token, service_keys
from authsvc.domain.access_token import InactiveReason
from authsvc.domain.cursors import Cursor, open_cursor, seal_cursor
from authsvc.domain.ids import decode_base64url, encode_base64url, encode_id
from authsvc.domain.page_tokens import open_page_token, seal_page_token
from authsvc.ports import ImportedUser
from authsvc.service.legacy import LegacyTokens, SignedLegacy
from authsvc.service.verify import Refusal
from tests.hardening.judges import Bench, bench
from tests.hardening.keyring import ALGORITHMS
from tests.support import legacy
from tests.support.core import D1, ISSUER

ROOT = Path(__file__).parents[2]
PAGES = {
    "sessions of alice": ("sessions", "alice", ""),
    "sessions of bob": ("sessions", "bob", ""),
    "merges": (),
}
# JWTs of ours by type; only at+jwt is minted. The others are what a careless change could mint one day.
TYPES = (
    "JWT",
    "id_token",
    "id+jwt",
    "rt+jwt",
    "logout+jwt",
    "secevent+jwt",
    "AT+JWT",
    "application/at+jwt",
    "",
)
ACCESS = [f"access token {alg}" for alg in ALGORITHMS]
KINDS = [
    *ACCESS,
    *(f"ours of type {typ!r}" for typ in TYPES),
    "ours of another issuer",
    "ours for another audience",
    "refresh token",
    "service key",
    "cursor",
    *(f"page of {name}" for name in PAGES),
    "legacy token",
    "legacy token with a kid",
    "audit checkpoint",
]
VERIFIERS = {
    "access token, server": set(ACCESS),
    "access token, client": set(ACCESS),
    "access token, to revoke": {*ACCESS, "ours for another audience"},
    "refresh token": {"refresh token"},
    "service key": {"service key"},
    "cursor": {"cursor"},
    **{f"page of {name}": {f"page of {name}"} for name in PAGES},
    "legacy token": {"legacy token"},
}


class World:
    """One token of each kind, and every verifier."""

    def __init__(self, tried: Bench) -> None:
        self._tried = tried
        core = tried.core
        now, self._rings = core.clock.now(), core.rings
        core.apps.replace(
            {**core.apps.apps, D1: legacy.migrating(core.apps.apps[D1], until=now + timedelta(days=1))}
        )
        self._legacy = LegacyTokens(
            apps=core.apps, store=core.store.as_store(), clock=core.clock, issuer=ISSUER
        )
        es256 = tried.keyring.ours["ES256"]
        line = refresh_token.first_token(
            bytes(16), nonce=bytes(16), key_id=self._rings.refresh_mac.current_id
        )
        secret = bytes(range(32))
        self._record = service_keys.KeyRecord(
            encode_id(bytes(16)), "shop", service_keys.hash_secret(secret), created_at=now
        )
        checkpoint = audit.signing_input(1, bytes(32))
        said = legacy.said("o-alice", now=now)
        self.tokens: Mapping[str, str] = {
            **{f"access token {alg}": tried.keyring.ours[alg].token(tried.payload()) for alg in ALGORITHMS},
            **{f"ours of type {typ!r}": es256.token(tried.payload(), es256.header(typ=typ)) for typ in TYPES},
            "ours of another issuer": es256.token(tried.payload(iss="another")),
            "ours for another audience": es256.token(tried.payload(aud="shop")),
            "refresh token": refresh_token.spell(line, ring=self._rings.refresh_mac),
            "service key": service_keys.make_key(self._record.key_id, secret),
            "cursor": encode_base64url(seal_cursor(Cursor(bytes(8), 7), ring=self._rings.cursor)),
            **{
                f"page of {name}": seal_page_token(
                    (now, encode_id(bytes(16))), filters=filters, ring=self._rings.cursor
                )
                for name, filters in PAGES.items()
            },
            "legacy token": legacy.mint(said),
            "legacy token with a kid": legacy.mint(said, header={**legacy.HEADER, "kid": es256.kid}),
            "audit checkpoint": checkpoint.decode("latin-1")
            + "."
            + encode_base64url(es256.sign(checkpoint.decode("latin-1"))),
        }
        self.verifiers: Mapping[str, Callable[[str], Awaitable[bool]]] = {
            "access token, server": self._server,
            "access token, client": self._client,
            "access token, to revoke": self._to_revoke,
            "refresh token": self._refresh,
            "service key": self._service_key,
            "cursor": self._cursor,
            **{f"page of {name}": self._page(filters) for name, filters in PAGES.items()},
            "legacy token": self._legacy_token,
        }

    async def _server(self, text: str) -> bool:
        verdict = await self._tried.server(text)
        # That the legacy verifier behind it takes a legacy token is its own diagonal.
        believed = await self._tried.core.verifier._believed(text, arrived_at=float("-inf"))
        return verdict is None and not isinstance(believed, Refusal)

    async def _client(self, text: str) -> bool:
        return self._tried.client(text) is None

    async def _to_revoke(self, text: str) -> bool:
        return await self._tried.core.verifier.claims_to_revoke(text) is not None

    async def _refresh(self, text: str) -> bool:
        return refresh_token.parse(text, ring=self._rings.refresh_mac) is not None

    async def _service_key(self, text: str) -> bool:
        presented = service_keys.parse_key(text)
        return presented is not None and presented.proves(self._record)

    async def _cursor(self, text: str) -> bool:
        raw = decode_base64url(text)
        sealed = [text.encode(), *([] if raw is None else [raw])]
        return any(open_cursor(one, ring=self._rings.cursor) is not None for one in sealed)

    def _page(self, filters: tuple[str, ...]) -> Callable[[str], Awaitable[bool]]:
        async def opens(text: str) -> bool:
            return open_page_token(text, filters=filters, ring=self._rings.cursor) is not None

        return opens

    async def _legacy_token(self, text: str) -> bool:
        return isinstance(self._legacy.read(text), SignedLegacy)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with bench(tmp_path) as tried:
        record = ImportedUser(D1, "", "o-alice", None, None)
        await tried.core.personal_data.bring_in([record], by="crm")
        yield World(tried)


async def test_only_the_diagonal_passes(world: World) -> None:
    """Each verifier takes its own kind and no other, whole or without its prefix."""
    assert list(world.tokens) == KINDS
    assert list(world.verifiers) == list(VERIFIERS)
    for name, verifier in world.verifiers.items():
        passing = {kind for kind, text in world.tokens.items() if await verifier(text)}
        assert passing == VERIFIERS[name], name


async def test_no_prefix_makes_one_kind_another(world: World) -> None:
    """A token without its prefix, or under another kind's, passes nowhere that it did not pass before."""
    prefixes = ("", "wxr1.", "wxk1.", "wxr1", "Bearer ")
    for kind, text in world.tokens.items():
        bare = re.sub(r"^wx[rk]1\.", "", text)
        for prefix in prefixes:
            changed = prefix + bare
            for name, verifier in world.verifiers.items():
                assert await verifier(changed) == (changed == text and kind in VERIFIERS[name]), (
                    prefix,
                    kind,
                    name,
                )


async def test_a_legacy_token_is_judged_as_one_on_the_server_only(world: World, tmp_path: Path) -> None:
    """VerifyToken takes it by its own path; with a kid, nowhere."""
    tried = world._tried
    assert await tried.server(world.tokens["legacy token"]) is not InactiveReason.MALFORMED
    assert await tried.server(world.tokens["legacy token with a kid"]) is InactiveReason.MALFORMED
    assert tried.client(world.tokens["legacy token"]) is InactiveReason.MALFORMED


def test_every_place_that_signs_is_known() -> None:
    """A new kind of token, or a new use of a key, has to come by here and get its row above."""
    signs = re.compile(r"hmac\.(?:digest|new)\(|\bsigner\.sign\(|self\._key\.sign\(")
    found = {
        str(file.relative_to(ROOT / "authsvc")): len(hits)
        for file in sorted((ROOT / "authsvc").rglob("*.py"))
        if (hits := signs.findall(file.read_text("utf-8"))) and "sandbox" not in file.parts
    }
    assert found == {
        "domain/blind_index.py": 1,  # names of phone numbers in the record, never handed out
        "domain/cursors.py": 1,
        "domain/legacy_token.py": 1,  # checks only
        "domain/page_tokens.py": 1,
        "domain/refresh_token.py": 2,
        "keys/algorithms.py": 3,  # the primitives
        "service/audit_sealing.py": 1,
        "service/issue.py": 1,
        "wechat/api.py": 1,  # what WeChat asks for, under WeChat's own key
    }
