"""The sequences of the stream: snapshots, changes, breaks, drains, other incarnations."""

from collections.abc import Iterator
from functools import partial

from authsvc.domain.sessions import EndReason
from tests.conformance.vectors import wire
from tests.conformance.vectors.cases_revocations import app_fact, key_fact, session_fact, user_fact
from tests.conformance.vectors.minting import APP, NOW_S, OTHER_APP, OTHER_SESSION, POSITION, claims, mint
from tests.conformance.vectors.script import NamedToken, Script
from tests.conformance.vectors.token_case import EC, EC_NEXT, ED, NOBODY, RSA
from tests.conformance.vectors.wire import at

TOKENS = {
    "good": NamedToken(mint(EC)),
    "good_ed": NamedToken(mint(ED, claims(jti="ed"))),
    "good_rsa": NamedToken(mint(RSA, claims(jti="rsa"))),
    "other_session": NamedToken(mint(EC, claims(sid=OTHER_SESSION, jti="s2"))),
    "other_user": NamedToken(mint(EC, claims(sid=OTHER_SESSION, sub="u-other", jti="u2"))),
    "other_app": NamedToken(mint(EC, claims(sid=OTHER_SESSION, client_id=OTHER_APP, jti="a2"))),
    "later": NamedToken(mint(EC, claims(sid=OTHER_SESSION, sp=f"{POSITION + 64:016x}", jti="l"))),
    "next_key": NamedToken(mint(EC_NEXT, claims(jti="k2"))),
    "nobody": NamedToken(mint(NOBODY, claims(jti="n"))),
    "short": NamedToken(mint(EC, claims(exp=NOW_S + 160, jti="x"))),
    "malformed": NamedToken("a.b.c"),
    "wrong_audience": NamedToken(mint(EC, claims(sid=OTHER_SESSION, aud="stock", jti="w"))),
}
HERE = 0x200
script = partial(Script, tokens=TOKENS)


def snapshots() -> Iterator[Script]:
    """How knowledge begins, and when it counts."""
    first, half = (
        wire.snapshot(session_fact(), through=None),
        wire.snapshot(user_fact(POSITION + 4, "u-other"), through=None),
    )
    last = wire.snapshot(app_fact(POSITION + 8, OTHER_APP), through=at(HERE))
    yield (
        script("snapshot-one-part", "nothing is known before the snapshot, everything after it")
        .age(0).verify(0, "good", "malformed", "wrong_audience")
        .told(500, wire.snapshot(session_fact(), through=at(HERE)), at(HERE))
        .age(500).verify(500, "good", "other_session", "other_user", "wrong_audience", "malformed")
    )  # fmt: skip
    yield (
        script("snapshot-three-parts", "only the last part makes the others count")
        .told(100, first).verify(100, "good", "other_app").age(100)
        .told(900, half).verify(900, "good", "other_user")
        .told(1700, last, at(HERE)).age(1700)
        .verify(1700, "good", "other_session", "other_user", "other_app")
    )  # fmt: skip
    yield (
        script("snapshot-cut", "a snapshot cut before its last part counts for nothing, and is begun again")
        .told(100, first).told(200, half)
        .ended(300, "cut").opened(1300).verify(1300, "good")
        .told(1500, last, at(HERE)).verify(1500, "good", "other_user", "other_app")
    )  # fmt: skip
    yield (
        script("snapshot-cut-twice", "and again")
        .told(100, first).ended(200, "cut").opened(1200)
        .told(1300, half).ended(1400, "cut").opened(2400)
        .told(2500, wire.snapshot(through=at(HERE)), at(HERE)).verify(2500, "good", "other_user")
    )  # fmt: skip
    yield (
        script("snapshot-empty", "a snapshot of nothing is a snapshot")
        .told(50, wire.snapshot(through=at(0)), at(0)).age(50).verify(50, "good").reached(50, 0, 1)
    )  # fmt: skip
    yield (
        script("snapshot-unpacked", "sessions one by one")
        .told(50, wire.unpacked(wire.snapshot(session_fact(), through=at(HERE))), at(HERE)).verify(50, "good", "other_session")
    )  # fmt: skip
    yield (
        script("snapshot-old", "a snapshot is as old as it says")
        .told(50, wire.snapshot(through=at(HERE), age_ms=29_000), at(HERE))
        .age(50).verify(50, "good").verify(1050, "good").age(1050).verify(1051, "good").age(1051)
    )  # fmt: skip


def changes() -> Iterator[Script]:
    """What comes after the snapshot."""

    def begun(name: str, what: str) -> Script:
        return (
            script(name, what)
            .told(0, wire.snapshot(through=at(HERE)), at(HERE))
            .verify(0, "good", "other_session", "other_app", "later")
        )

    yield (
        begun("changes-session", "a session ends; a verdict given before does not linger")
        .told(800, wire.changes(session_fact(position=HERE + 1), through=at(HERE + 1)), at(HERE + 1))
        .verify(800, "good", "other_session").age(800).reached(800, HERE, HERE + 1, HERE + 2)
    )  # fmt: skip
    yield (
        begun("changes-user", "a user's sessions that began before die, later ones don't")
        .told(800, wire.changes(user_fact(POSITION + 64), through=at(HERE + 1)), at(HERE + 1))
        .verify(800, "good", "other_session", "other_user", "later")
    )  # fmt: skip
    yield (
        begun("changes-user-one-app", "a user's sessions in one app die")
        .told(800, wire.changes(user_fact(HERE + 1, app_filter=OTHER_APP), through=at(HERE + 1)), at(HERE + 1))
        .verify(800, "good", "other_app")
        .told(1600, wire.changes(user_fact(HERE + 2, app_filter=APP), through=at(HERE + 2)), at(HERE + 2))
        .verify(1600, "good", "other_app", "other_user", "later")
    )  # fmt: skip
    yield (
        begun("changes-app", "an app's sessions die")
        .told(800, wire.changes(app_fact(HERE + 1), through=at(HERE + 1)), at(HERE + 1))
        .verify(800, "good", "other_app", "other_user")
    )  # fmt: skip
    many = [
        session_fact(OTHER_SESSION, HERE + 1, EndReason.REPLACED),
        key_fact(ED.kid, HERE + 2),
        user_fact(HERE + 3, "u-nobody", reason=EndReason.BLOCKED),
        session_fact(position=HERE + 4, reason=EndReason.MERGED),
    ]
    yield (
        begun("changes-many", "several kinds in one message")
        .told(800, wire.changes(*many, through=at(HERE + 4)), at(HERE + 4))
        .verify(800, "good", "good_ed", "good_rsa", "other_session", "later").position(800)
    )  # fmt: skip
    ended = session_fact(position=HERE + 1, reason=EndReason.LOGOUT)
    again = session_fact(position=HERE + 3, reason=EndReason.ADMIN)
    yield (
        begun("changes-twice", "a fact told twice is one fact; of two ends of a session the first reason stands")
        .told(400, wire.changes(ended, through=at(HERE + 1)), at(HERE + 1))
        .told(800, wire.changes(ended, through=at(HERE + 1)), at(HERE + 1)).verify(800, "good")
        .told(1200, wire.changes(again, through=at(HERE + 3)), at(HERE + 3)).verify(1200, "good").position(1200)
    )  # fmt: skip
    key = key_fact(EC.kid, HERE + 1)
    yield (
        begun("changes-key", "a key is withdrawn: its tokens die, also those judged before; other keys go on")
        .verify(0, "next_key", "good_ed")
        .told(800, wire.changes(key, through=at(HERE + 1)), at(HERE + 1))
        .verify(800, "good", "other_session", "next_key", "good_ed")
        .told(1600, wire.heartbeat(at(HERE + 1)), at(HERE + 1)).verify(1600, "good", "next_key")
    )  # fmt: skip
    yield (
        begun("changes-unknown-fields", "fields of a later contract are passed over")
        .told(800, wire.with_unknown_fields(wire.changes(ended, through=at(HERE + 1))), at(HERE + 1))
        .verify(800, "good", "other_session").position(800)
    )  # fmt: skip
    yield (
        begun("changes-unknown-body", "a body of a later contract is passed over, what is beside it counts")
        .told(2000, wire.with_unknown_body(wire.heartbeat(at(HERE + 7), age_ms=100)), at(HERE + 7)).age(2000)
        .ended(2100, "cut").opened(3100)
    )  # fmt: skip


def breaks() -> Iterator[Script]:
    """Streams that end, and where the next one begins."""

    def begun(name: str, what: str) -> Script:
        return (
            script(name, what)
            .told(0, wire.snapshot(session_fact(), through=at(HERE)), at(HERE))
            .verify(0, "good", "other_session")
        )

    gone = session_fact(OTHER_SESSION, HERE + 2)
    moved = wire.changes(gone, through=at(HERE + 2))
    for how, what in (
        ("cut", "the stream is cut: it goes on from the last cursor"),
        ("ok", "the stream ends without a word: likewise"),
        ("too_slow", "the reader was too slow: likewise"),
    ):
        yield (
            begun(f"resume-{how.replace('_', '-')}", what)
            .told(900, wire.heartbeat(at(HERE + 1)), at(HERE + 1))
            .ended(1000, how).opened(2000).verify(2000, "good", "other_session")
            .told(2200, moved, at(HERE + 2)).verify(2200, "good", "other_session").age(2200)
        )  # fmt: skip
    yield (
        begun("resume-repeated", "what comes again after a resumption does no harm")
        .told(500, moved, at(HERE + 2)).ended(600, "cut").opened(1600)
        .told(1700, moved, at(HERE + 2)).verify(1700, "good", "other_session", "later").age(1700)
    )  # fmt: skip
    yield (
        begun("go-away", "the server drains: the next stream is opened with the cursor of its last word")
        .drained(900, at(HERE + 1)).opened(1400).age(1400)
        .told(1600, moved, at(HERE + 2)).verify(1600, "good", "other_session")
    )  # fmt: skip
    yield (
        begun("silence", "a stream that says nothing for 3 s is dead: another one is opened")
        .opened(12_000).verify(12_000, "good", "other_session")
        .told(13_000, moved, at(HERE + 2)).verify(24_000, "other_session").fresh(24_000)
    )  # fmt: skip
    yield (
        begun("expired-cursor", "the cursor is too old: a snapshot replaces what was known, all of it at once")
        .ended(500, "out_of_range").opened(1500).verify(1500, "good", "other_session")
        .told(1700, wire.snapshot(gone, through=None)).verify(1700, "good", "other_session")
        .told(1900, wire.snapshot(through=at(HERE + 9)), at(HERE + 9))
        .verify(1900, "good", "other_session").age(1900)
    )  # fmt: skip
    yield (
        begun("expired-cursor-cut", "the new snapshot breaks: it begins again, and the old knowledge holds until then")
        .ended(500, "out_of_range").opened(1500)
        .told(1600, wire.snapshot(gone, through=None)).ended(1700, "cut").opened(2700)
        .verify(2700, "good", "other_session")
        .told(2800, wire.snapshot(through=at(HERE + 9)), at(HERE + 9)).verify(2800, "good", "other_session")
    )  # fmt: skip
    there = at(HERE + 2**32, wire.NEXT_INCARNATION)
    on = at(HERE + 2**32 + 1, wire.NEXT_INCARNATION)
    yield (
        begun("new-incarnation", "the record was restored: positions go on above, cursors are others")
        .ended(500, "out_of_range").opened(1500)
        .told(1600, wire.snapshot(user_fact(POSITION + 64), through=there), there)
        .verify(1600, "good", "other_session", "later", "other_user").age(1600)
        .reached(1600, HERE + 1, HERE + 2**32, HERE + 2**32 + 1)
        .told(2000, wire.changes(user_fact(HERE + 2**32 + 1, "u-other"), through=on), on).verify(2000, "other_user")
        .ended(2100, "cut").opened(3100)
    )  # fmt: skip
    yield (
        begun("snapshot-does-not-confirm", "parts of a snapshot that is not complete make nothing younger")
        .ended(500, "out_of_range").opened(1500)
        .told(1600, wire.snapshot(gone, through=None)).told(3600, wire.snapshot(through=None))
        .told(5600, wire.snapshot(through=None)).age(5600).verify(30_000, "other_session").verify(30_001, "other_session", "good")
    )  # fmt: skip
    unknown = wire.with_unknown_target(wire.changes(gone, through=at(HERE + 2)))
    yield (
        begun("unknown-target", "a revocation of a kind from the future: the verifier stops deciding, for good")
        .told(500, unknown, at(HERE + 2)).verify(500, "good", "other_session", "malformed")
        .told(1500, wire.heartbeat(at(HERE + 2)), at(HERE + 2)).verify(1500, "good", "other_session")
        .ended(1600, "out_of_range").opened(2600)
        .told(2700, wire.snapshot(through=at(HERE + 3)), at(HERE + 3)).verify(2700, "good", "other_session")
    )  # fmt: skip
