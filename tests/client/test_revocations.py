"""What a view knows: the same as a plain model, in a hundredth of the words."""

import gc
import tracemalloc

from hypothesis import given, settings
from hypothesis import strategies as st

from authsvc_client import Inactive, InactiveReason, SessionEndReason
from authsvc_client.packed import FOR_EVER_S, Entry, PackedMap
from authsvc_client.revocations import Fact, Kind, RevocationView, Snapshot, VerifiedToken
from authsvc_client.testing import TokenMint
from authsvc_client.verdicts import Verdict
from tests.client.support import verified

MINT = TokenMint()
SIDS = [MINT.new_id() for _ in range(4)]


def token(session_id: str = SIDS[0], *, user: str = "u", app: str = "a", position: int = 10) -> VerifiedToken:
    return verified(user_id=user, session_id=session_id, app_id=app, position=position)


def reason_of(found: Verdict | None) -> str | None:
    return found.reason.name if isinstance(found, Inactive) else None


keys = st.integers(0, 2**64 - 1) | st.sampled_from([0, 1, 2**56, 2**64 - 1])
entries = st.builds(Entry, st.integers(0, 2**64 - 1), st.integers(0, 255), st.integers(0, 1000))
steps = st.lists(st.tuples(keys, entries) | st.just("pack"), max_size=60)


@settings(max_examples=150, deadline=None)
@given(steps)
def test_a_packed_map_is_a_map(script: "list[tuple[int, Entry] | str]") -> None:
    """
    Whatever is put in whatever order, packed in between or not: the last entry of each key is found, and nothing else.
    """
    packed, model = PackedMap(), dict[int, Entry]()
    for step in script:
        if isinstance(step, str):
            for _ in packed.pack(now_s=0):
                assert {key: packed.get(key) for key in model} == model
        else:
            packed.put(*step)
            model[step[0]] = step[1]

    assert {key: packed.get(key) for key in model} == model
    assert all(packed.get(key ^ 1) is None for key in model if key ^ 1 not in model)


def test_what_is_past_its_use_is_forgotten_and_nothing_sooner() -> None:
    """
    A fact of use until second 100 is held in second 100 and gone in second 101.
    """
    view = RevocationView()
    view.apply(
        [
            Fact(Kind.SESSION, SIDS[0], 1, until_s=100),
            Fact(Kind.USER, "u", 20),
            Fact(Kind.APP, "a", 20, until_s=100),
        ]
    )
    for now_s, held in ((100.9, 3), (101.0, 1)):
        for _ in view.tidy(now_s=now_s):
            pass
        assert len(view) == held
    assert reason_of(view.death_of(token())) == "USER_REVOKED"


def test_positions_decide_who_dies() -> None:
    """
    A user or app fact kills what began below it; the app filter narrows; the highest of several counts.
    """
    view = RevocationView()
    view.apply(
        [
            Fact(Kind.USER, "u", 20),
            Fact(Kind.USER, "u", 15),
            Fact(Kind.USER, "v", 30, app_filter="a"),
            Fact(Kind.APP, "b", 40),
        ]
    )

    assert reason_of(view.death_of(token(position=19))) == "USER_REVOKED"
    assert view.death_of(token(position=20)) is None
    assert reason_of(view.death_of(token(user="v", position=29))) == "USER_REVOKED"
    assert view.death_of(token(user="v", app="c", position=29)) is None
    assert reason_of(view.death_of(token(user="w", app="b", position=39))) == "APP_REVOKED"
    assert view.death_of(token(user="w", app="b", position=40)) is None


def test_the_first_reason_of_a_session_stands() -> None:
    """
    Facts may come twice and in any order; the nearest cause is told first.
    """
    view = RevocationView()
    logout = Fact(Kind.SESSION, SIDS[0], 1, SessionEndReason.LOGOUT, until_s=50)
    view.apply(
        [Fact(Kind.USER, "u", 99), logout, logout, logout._replace(reason=SessionEndReason.ADMIN, until_s=60)]
    )

    assert view.death_of(token()) == Inactive(InactiveReason.SESSION_REVOKED, SessionEndReason.LOGOUT)
    for _ in view.tidy(now_s=55):
        pass
    assert reason_of(view.death_of(token())) == "SESSION_REVOKED"


def test_a_snapshot_replaces_everything_but_withdrawn_keys() -> None:
    """
    Before `replace` nothing of it counts; afterwards nothing else does; a key once withdrawn stays so.
    """
    view = RevocationView()
    view.apply([Fact(Kind.SESSION, SIDS[0], 1), Fact(Kind.KEY, "k1", 2), Fact(Kind.UNKNOWN, "", 3)])
    snapshot = Snapshot()
    snapshot.add_sessions(
        b"".join(bytes([n]) * 16 for n in range(1, 200)), reason=SessionEndReason.MERGED, until_s=9
    )
    snapshot.add([Fact(Kind.USER, "z", 9), Fact(Kind.KEY, "k2", 4)])
    assert (len(view), view.has_unknown) == (2, True)
    for _ in snapshot.finish():
        assert reason_of(view.death_of(token())) == "SESSION_REVOKED"
    view.replace(snapshot)

    assert view.death_of(token()) is None
    assert (view.is_withdrawn("k1"), view.is_withdrawn("k2"), view.has_unknown) == (True, True, False)
    assert len(view) == 199 + 1 + 2
    from authsvc_client.tokens import encode_base64url

    dead = [view.death_of(token(encode_base64url(bytes([n]) * 16).decode())) for n in range(1, 200)]
    assert set(dead) == {Inactive(InactiveReason.SESSION_REVOKED, SessionEndReason.MERGED)}


def test_a_session_id_that_is_none_of_ours_is_no_danger() -> None:
    """
    A claim `sid` of another shape matches no fact, and a fact with one kills nothing.
    """
    view = RevocationView()
    view.apply([Fact(Kind.SESSION, "session-1", 1)])

    assert view.death_of(token("session-1")) is None
    assert len(view) == 0


def test_an_ended_session_takes_few_bytes() -> None:
    """
    Below 30 bytes held and below 100 while a second snapshot replaces the first: 100 MB for 1,000,000 is never reached.
    """
    part, parts = 5000, 30
    ids = [
        b"".join(((n * part + m) * 0x9E3779B97F4A7C15 % 2**64).to_bytes(8, "big") * 2 for m in range(part))
        for n in range(parts)
    ]
    view = RevocationView()
    gc.collect()
    tracemalloc.start()
    try:
        for _ in range(2):
            snapshot = Snapshot()
            for chunk in ids:
                snapshot.add_sessions(chunk, reason=SessionEndReason.ADMIN, until_s=FOR_EVER_S)
            for _ in snapshot.finish():
                pass
            view.replace(snapshot)
            del snapshot
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert len(view) == part * parts
    assert held < 30 * part * parts
    assert peak < 100 * part * parts
