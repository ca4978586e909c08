"""
The judge of the vectors: the server's `TokenVerifier`, its view and its key directory, on a clock that is a number.

What a local verifier adds to them (one key read in 10 s, a policy at the hard bound, a stream that breaks) stands
here, in as few lines as the client rules have: DESIGN sections 3 and 8, and README "Keys".
"""

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from authapi.v1 import key_service_pb2
from authapi.v1 import revocation_service_pb2 as pb
from authsvc.domain.apps import App, AppRegistry
from authsvc.domain.cursors import Cursor, position_claim
from authsvc.domain.errors import NotFresh, StoreUnavailable
from authsvc.keys import verification_key
from authsvc.ports import (
    Clock,
    KeyMaterial,
    KeyStore,
    Observer,
    RevocationLog,
    SigningKeyRecord,
    VerificationKey,
)
from authsvc.service.keys import KeyDirectory
from authsvc.service.tail import LogTail
from authsvc.service.verify import Demand, Refusal, TokenVerifier, VerifiedToken
from authsvc.service.view import RevocationView
from tests.conformance.vectors.wire import facts_of, position_of
from tests.fakes import RecordingObserver

Json = dict[str, Any]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_READ_GAP_MS = 10_000
_MEMBERS = {"EC": ("crv", "kty", "x", "y"), "OKP": ("crv", "kty", "x"), "RSA": ("e", "kty", "n")}


@dataclass
class NumberClock:
    """Implements what ports.Clock promises, without time passing by itself."""

    wall_ms: int
    elapsed_ms: int = 1_000_000

    def now(self) -> datetime:
        return _EPOCH + timedelta(milliseconds=self.wall_ms)

    def elapsed(self) -> float:
        return self.elapsed_ms / 1000

    async def sleep(self, duration: timedelta) -> None:
        raise AssertionError("nothing here waits")

    def advance(self, by_ms: int) -> None:
        self.wall_ms += by_ms
        self.elapsed_ms += by_ms


@dataclass
class KeySource:
    """Implements what the key directory asks of the store and of the key material; counts and limits the reads."""

    clock: NumberClock
    answer: key_service_pb2.GetJwksResponse | None
    reads: int = 0
    last_began_ms: int = field(default=-(10**12))

    async def list_signing_keys(self) -> Sequence[SigningKeyRecord]:
        if self.clock.elapsed_ms - self.last_began_ms < _READ_GAP_MS:
            raise StoreUnavailable("not again so soon")
        self.reads += 1
        self.last_began_ms = self.clock.elapsed_ms
        if self.answer is None:
            raise StoreUnavailable("scripted")
        return [*usable_keys(self.answer.jwks_json), *map(_withdrawn, self.answer.withdrawn_key_ids)]

    async def add_signing_key(self, record: SigningKeyRecord) -> None:
        raise AssertionError("a verifier adds no keys")

    async def activate_first_key(self) -> None:
        pass  # a verifier signs nothing

    def local_keys(self) -> Sequence[SigningKeyRecord]:
        return ()

    def verification_key(self, record: SigningKeyRecord) -> VerificationKey:
        return verification_key(record)


def usable_keys(jwks_json: str) -> list[SigningKeyRecord]:
    """Return the keys of a set that the server itself would verify with: others are as if not in it."""
    records = []
    for jwk in json.loads(jwks_json)["keys"]:
        members = {name: jwk[name] for name in _MEMBERS.get(jwk.get("kty", ""), ())}
        canonical = json.dumps(members, separators=(",", ":"), sort_keys=True)
        record = SigningKeyRecord(jwk.get("kid", ""), jwk.get("alg", ""), canonical, "active", _EPOCH)
        try:
            verification_key(record)
        except ValueError:
            continue
        records.append(record)
    return records


def _withdrawn(kid: str) -> SigningKeyRecord:
    return SigningKeyRecord(kid, "ES256", "", "withdrawn", _EPOCH)


class Reference:
    """A local verifier as it ought to be, assembled from the server's parts."""

    def __init__(
        self,
        *,
        now_ms: int,
        keys: key_service_pb2.GetJwksResponse | None,
        rules: key_service_pb2.GetJwksResponse,
        hard_bound_ms: int = 30_000,
        when_stale: str = "unavailable",
    ) -> None:
        self.clock = NumberClock(now_ms)
        self.source = KeySource(self.clock, keys)
        self.remote: Any = "unavailable"
        self.resume_from: Cursor | None = None
        self.position: int | None = None
        self._bound_ms = hard_bound_ms
        self._when_stale = when_stale
        self._rules = rules
        self._directory = KeyDirectory(
            store=cast(KeyStore, self.source),
            material=cast(KeyMaterial, self.source),
            clock=cast(Clock, self.clock),
            observer=RecordingObserver(),
            apps=AppRegistry({}),
            # Withdrawals are judged by the view that the stream fills; the directory's own stays empty.
            view=RevocationView(),
        )
        self._pending: RevocationView | None = None
        self._confirmed_ms: int | None = None
        self._unknown_fact = False
        self._pending_unknown = False
        self._replace(RevocationView())
        self.read_keys()

    # -- keys ------------------------------------------------------------------------------------------------------

    def read_keys(self) -> None:
        """Read the keys, as at the start."""

        async def read() -> None:
            with suppress(StoreUnavailable):
                await self._directory.start()

        asyncio.run(read())

    # -- the stream ------------------------------------------------------------------------------------------------

    def receive(
        self, message: pb.WatchRevocationsResponse, *, cursor: Cursor | None, trusted: bool = True
    ) -> None:
        """Take a message in at the clock's time; *cursor* is its complete_through, opened. Untrusted: slept on."""
        facts, unknown = facts_of(message)
        if message.WhichOneof("body") == "snapshot_part":
            if self._pending is None:
                self._pending, self._pending_unknown = RevocationView(), False
            self._pending.apply(facts)
            self._pending_unknown |= unknown
            if message.snapshot_part.last:
                self._unknown_fact = self._pending_unknown
                self._replace(self._pending)
                self._pending = self._confirmed_ms = None
        else:
            self._view.apply(facts)
            self._unknown_fact |= unknown
        if cursor is not None:
            self.resume_from, self.position = cursor, position_of(message)
            confirmed = self.clock.elapsed_ms - message.age.ToMilliseconds()
            if trusted and (self._confirmed_ms is None or confirmed > self._confirmed_ms):
                self._confirmed_ms = confirmed

    def cut(self, *, cursor_expired: bool = False) -> None:
        """The stream has ended: half a snapshot counts for nothing, an expired cursor is not used again."""
        self._pending = None
        if cursor_expired:
            self.resume_from = None

    @property
    def age_ms(self) -> int | None:
        """How old its knowledge is."""
        return None if self._confirmed_ms is None else self.clock.elapsed_ms - self._confirmed_ms

    @property
    def is_fresh(self) -> bool:
        """Whether it may decide."""
        self._expose()
        return self._tail.is_fresh()

    def _replace(self, view: RevocationView) -> None:
        issuer, longest = self._rules.issuer, self._rules.max_token_lifetime.ToTimedelta()
        self._view = view
        self._tail = LogTail(
            log=cast(RevocationLog, None),
            view=view,
            clock=cast(Clock, self.clock),
            observer=cast(Observer, None),
            hard_bound=timedelta(milliseconds=self._bound_ms),
        )
        self._verifier = TokenVerifier(
            keys=self._directory,
            tail=self._tail,
            apps=AppRegistry({"": App("", audiences=(), access_lifetime=longest)}),
            clock=cast(Clock, self.clock),
            issuer=issuer,
        )

    def _expose(self, *, decide_anyway: bool = False) -> None:
        """Tell the server's view when it was confirmed."""
        self._view.known = self.resume_from or (None if self._confirmed_ms is None else Cursor(b"", 0))
        age_ms = None if self._unknown_fact else self.age_ms
        if decide_anyway:
            self._view.known, age_ms = Cursor(b"", 0), 0
        self._view.confirmed_at = float("-inf") if age_ms is None else (self.clock.elapsed_ms - age_ms) / 1000

    # -- verdicts --------------------------------------------------------------------------------------------------

    def verify(self, token: str, require: Json) -> tuple[Json, bool]:
        """Return the verdict, and whether the server was asked for it."""
        verdict = self._judge(token, require)
        cause = verdict.get("unavailable")
        if cause not in {"stale", "no_snapshot", "unknown_fact"} or self._when_stale == "unavailable":
            return verdict, False
        if self._when_stale == "accept":
            return self._judge(token, require, decide_anyway=True), False
        return self._ask(verdict), True

    def _ask(self, verdict: Json) -> Json:
        if self.remote == "unavailable":
            return verdict
        age_ms, own_ms = self.remote["age_ms"], self.age_ms
        too_old = age_ms > self._bound_ms and own_ms is not None and age_ms >= own_ms
        return verdict if too_old else dict(self.remote["verdict"])

    def _judge(self, token: str, require: Json, *, decide_anyway: bool = False) -> Json:
        demand = Demand(
            audiences=frozenset({require["audience"]}),
            scopes=tuple(require["scopes"]),
            roles=tuple(require["roles"]),
        )
        self._expose(decide_anyway=decide_anyway)
        try:
            verdict = asyncio.run(self._verifier.judge(token, demand))
        except StoreUnavailable:
            return {"unavailable": "unknown_key"}
        except NotFresh:
            if self._view.known is None:
                return {"unavailable": "no_snapshot"}
            return {"unavailable": "unknown_fact" if self._unknown_fact else "stale"}
        return _in_json(verdict)


def _in_json(verdict: VerifiedToken | Refusal) -> Json:
    if isinstance(verdict, Refusal):
        refusal: Json = {"inactive": verdict.reason.name}
        if verdict.end_reason:
            refusal["session_end_reason"] = verdict.end_reason.name
        return refusal
    claims = verdict.claims
    active: Json = {
        "user_id": claims.user_id,
        "session_id": claims.session_id,
        "app_id": claims.app_id,
        "audiences": list(claims.audiences),
        "scopes": list(claims.scopes),
        "roles": list(claims.roles),
        "token_id": claims.token_id,
        "issued_at": claims.issued_at,
        "expires_at": claims.expires_at,
        "position": position_claim(claims.position),
        "previous_user_ids": list(claims.previous_user_ids),
    }
    if claims.openid is not None:
        active["openid"] = claims.openid
    if claims.external_id is not None:
        active["external_id"] = claims.external_id
    return {"active": active}
