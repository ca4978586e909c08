"""The sequences of time: age, the hard bound and its policies, clocks that jump, machines that sleep, keys."""

from collections.abc import Iterator

from tests.conformance.vectors import wire
from tests.conformance.vectors.cases_revocations import session_fact
from tests.conformance.vectors.minting import OTHER_SESSION
from tests.conformance.vectors.script import Script
from tests.conformance.vectors.sequences import HERE, script
from tests.conformance.vectors.wire import at

_WHOLE = wire.snapshot(session_fact(), through=at(HERE))


def ages() -> Iterator[Script]:
    """How old knowledge is."""
    yield (
        script("age-grows", "age grows with time and falls with each message to what that one says")
        .told(0, wire.snapshot(through=at(HERE), age_ms=250), at(HERE)).age(0).age(1000)
        .told(1000, wire.heartbeat(at(HERE), age_ms=120), at(HERE)).age(1000).age(2500)
        .told(3000, wire.heartbeat(at(HERE)), at(HERE)).age(3000)
    )  # fmt: skip
    yield (
        script("age-never-worse", "a message that is older than what is known makes nothing older")
        .told(0, wire.snapshot(through=at(HERE)), at(HERE))
        .told(1000, wire.heartbeat(at(HERE), age_ms=100), at(HERE)).age(1000)
        .told(1500, wire.heartbeat(at(HERE), age_ms=1400), at(HERE)).age(1500)
        .told(2000, wire.heartbeat(at(HERE), age_ms=1200), at(HERE)).age(2000)
    )  # fmt: skip
    late = wire.changes(session_fact(OTHER_SESSION, HERE + 1), through=at(HERE + 1), age_ms=2000)
    yield (
        script("age-late-news", "news that comes late is news, and no younger for that")
        .told(0, wire.snapshot(through=at(HERE)), at(HERE)).verify(0, "other_session")
        .told(1000, late, at(HERE + 1)).age(1000).verify(1000, "other_session")
    )  # fmt: skip
    yield (
        script("age-of-lagging-server", "a server that is itself cut off from the log keeps nobody fresh")
        .told(0, wire.snapshot(through=at(HERE), age_ms=28_000), at(HERE)).verify(0, "good")
        .told(1000, wire.heartbeat(at(HERE), age_ms=29_000), at(HERE)).verify(1000, "good")
        .told(2000, wire.heartbeat(at(HERE), age_ms=30_000), at(HERE)).age(2000).verify(2000, "good")
        .told(3000, wire.heartbeat(at(HERE), age_ms=31_000), at(HERE)).age(3000).verify(3000, "good")
        .told(4000, wire.heartbeat(at(HERE), age_ms=500), at(HERE)).age(4000).verify(4000, "good")
    )  # fmt: skip


def bounds() -> Iterator[Script]:
    """The hard bound, and each policy beyond it."""
    active = {"verdict": {"inactive": "USER_REVOKED", "session_end_reason": "ADMIN"}, "age_ms": 100}
    for bound_ms in (1000, 30_000, 300_000):
        yield (
            script(f"bound-{bound_ms}", f"a hard bound of {bound_ms} ms, to the millisecond", hard_bound_ms=bound_ms)
            .told(0, _WHOLE, at(HERE)).verify(bound_ms, "other_session", "good").fresh(bound_ms)
            .verify(bound_ms + 1, "other_session", "good", "malformed", "wrong_audience").fresh(bound_ms + 1)
        )  # fmt: skip
    yield (
        script("bound-recovers", "the stream comes back after the bound: the verifier decides again, from its cursor")
        .told(0, _WHOLE, at(HERE)).verify(40_000, "other_session").opened(40_000)
        .told(40_000, wire.heartbeat(at(HERE + 1)), at(HERE + 1)).verify(55_000, "other_session", "good").position(55_000)
    )  # fmt: skip
    yield (
        script("bound-accept", "fail-open, asked for by name: the dead stay dead", when_stale="accept")
        .verify(0, "other_session", "malformed", "wrong_audience").told(0, _WHOLE, at(HERE))
        .verify(60_000, "other_session", "good", "wrong_audience", "malformed").fresh(60_000)
    )  # fmt: skip
    yield (
        script("bound-ask", "beyond the bound the server is asked; what is dead needs no asking", when_stale="ask")
        .told(0, _WHOLE, at(HERE)).remote(0, active).verify(30_000, "other_session", "good")
        .verify(30_001, "other_session", "good", "malformed").fresh(30_001)
    )  # fmt: skip
    yield (
        script("bound-ask-silent", "the server does not answer either", when_stale="ask")
        .told(0, _WHOLE, at(HERE)).verify(30_001, "other_session", "good")
    )  # fmt: skip
    old = {"verdict": active["verdict"], "age_ms": 75_000}
    yield (
        script("bound-ask-old", "the server's own knowledge is beyond the bound, too, and no younger", when_stale="ask")
        .told(0, _WHOLE, at(HERE)).remote(0, old).verify(60_000, "other_session")
    )  # fmt: skip
    yield (
        script("bound-ask-first", "before the first snapshot the server is asked", when_stale="ask")
        .remote(0, active).verify(500, "other_session").verify(500, "malformed")
        .told(600, _WHOLE, at(HERE)).verify(600, "other_session", "good")
    )  # fmt: skip


def clocks() -> Iterator[Script]:
    """Wall clocks that jump, tokens that expire, machines that sleep."""
    yield (
        script("wall-jumps", "the wall clock judges tokens and nothing else")
        .told(0, _WHOLE, at(HERE)).verify(0, "other_session").wall_jump(1000, 3_600_000).age(1000)
        .verify(1000, "other_session", "short").wall_jump(1500, -7_200_000).age(1500).verify(1500, "other_session", "good")
        .wall_jump(2000, 3_600_000).age(2000).verify(2000, "other_session", "good")
    )  # fmt: skip
    yield (
        script("expires", "a token judged before dies at its time", hard_bound_ms=300_000)
        .told(0, wire.snapshot(through=at(HERE)), at(HERE)).verify(0, "short").verify(60_000, "short").verify(64_999, "short")
        .verify(65_000, "short", "other_session")
    )  # fmt: skip
    yield (
        script("sleeps", "a machine that slept trusts nothing that waited in its socket")
        .told(0, wire.snapshot(through=at(HERE)), at(HERE)).told(900, wire.heartbeat(at(HERE)), at(HERE)).verify(900, "good")
        .slept(61_000, wire.heartbeat(at(HERE)), at(HERE)).verify(61_000, "good").fresh(61_000).opened(63_000).verify(63_000, "good")
        .told(63_100, wire.changes(session_fact(position=HERE + 1), through=at(HERE + 1)), at(HERE + 1))
        .verify(63_100, "good", "other_session").fresh(63_100)
    )  # fmt: skip
    yield (
        script("sleeps-briefly", "a nap shorter than the bound ages what is known", hard_bound_ms=30_000)
        .told(0, wire.snapshot(through=at(HERE)), at(HERE)).slept(20_000).age(20_000).verify(20_000, "good")
        .opened(22_000).verify(30_000, "good").verify(30_001, "good")
    )  # fmt: skip


def keys() -> Iterator[Script]:
    """Keys that come, go and cannot be read."""
    yield (
        script("key-appears", "an unknown kid costs one read in 10 s, and only a read begun after the token says unknown", keys="one")
        .told(0, wire.snapshot(through=at(HERE)), at(HERE)).key_reads(0)
        .verify(1000, "next_key", "good").key_reads(1000)
        .verify(12_000, "next_key").key_reads(12_000)
        .verify(13_000, "next_key", "nobody", "good").key_reads(13_000).keys(13_500, "both")
        .verify(14_000, "next_key").verify(24_000, "next_key", "nobody").key_reads(24_000)
    )  # fmt: skip
    yield (
        script("keys-fail", "the last known good keys serve on while reads fail; unknown is then not known", keys="one")
        .told(0, wire.snapshot(through=at(HERE)), at(HERE)).keys(1000, "fails")
        .verify(12_000, "good", "next_key").verify(13_000, "next_key", "good")
        .keys(14_000, "both").verify(25_000, "next_key", "good")
    )  # fmt: skip
    yield (
        script("keys-fail-at-start", "without keys nothing can be decided, and that is no verdict", keys="fails")
        .told(0, wire.snapshot(through=at(HERE)), at(HERE)).verify(500, "good", "malformed")
        .keys(1000, "one").verify(20_000, "good").verify(20_000, "malformed")
    )  # fmt: skip
    yield (
        script("keys-withdrawn", "a key read tells of a withdrawal: tokens judged before die, too", keys="both")
        .told(0, wire.snapshot(through=at(HERE)), at(HERE)).verify(0, "good", "next_key").keys(1000, "first_withdrawn")
        .verify(12_000, "nobody").verify(12_000, "good", "next_key", "other_session").key_reads(12_000)
    )  # fmt: skip
