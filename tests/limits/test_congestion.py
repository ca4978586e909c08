"""How many logins may be under way: simulated against a server with a queue, on a fake clock."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authsvc.edge.congestion import Congestion, Room
from tests.fakes import FakeClock

MOST = 500


class Line:
    """A server that answers *per_s* logins, each *away_s* at WeChat besides, and calls without work in their turn."""

    def __init__(self, per_s: float, *, away_s: float = 0.1) -> None:
        self.clock = FakeClock()
        self.room = Room(most=MOST, clock=self.clock)
        self.per_s, self.away_s = per_s, away_s

    def window(self, offered: int) -> float:
        """Offer so many at once for a window; return how long the last one let in takes."""
        under_way = 0
        while under_way < offered and self.room.has_place(under_way):
            under_way += 1
        here = max(0.0, under_way - self.per_s * self.away_s)
        self.clock.advance(timedelta(milliseconds=150))
        self.room.judge(here / self.per_s)
        return here / self.per_s + self.away_s


@given(per_s=st.integers(50, 2000), away_ms=st.integers(20, 2000))
def test_whoever_is_let_in_is_answered_in_time_and_the_server_is_kept_busy(per_s: int, away_ms: int) -> None:
    """
    However many are offered, whatever the server can do, and however slow WeChat is, unless the bound of all stands before.
    """
    line = Line(per_s, away_s=away_ms / 1000)
    waits = [line.window(100_000) for _ in range(200)][100:]
    # Sixteen or so may always be under way, on a server however slow.
    assert max(waits) <= line.away_s + max(0.5, 24 / per_s)
    enough = min(per_s * line.away_s, MOST, 24)
    assert line.room.places >= enough


@given(least_s=st.lists(st.floats(0, 10), max_size=50), offered=st.integers(0, 1000))
def test_the_bound_stays_between_few_and_most(least_s: list[float], offered: int) -> None:
    """
    Whatever is heard.
    """
    room = Room(most=MOST, clock=FakeClock())
    for heard in least_s:
        for under_way in range(offered):
            room.has_place(under_way)
        room.judge(heard)
        assert 24 <= room.places <= MOST


def test_a_bound_that_nobody_reached_is_left_alone() -> None:
    """
    A quiet edge does not learn that more could be let in, nor forget what could.
    """
    line = Line(1000)
    before = line.room.places
    for _ in range(100):
        line.window(30)
    assert line.room.places == before


async def test_it_asks_while_there_are_many_and_only_then() -> None:
    """
    An edge without logins sends no probes; a server that does not answer is not judged.
    """
    clock, asked, count = FakeClock(), 0, 0
    room = Room(most=MOST, clock=clock)

    async def probe() -> bool:
        nonlocal asked
        asked += 1
        return False

    congestion = Congestion(room, probe=probe, clock=clock)
    congestion.watch(lambda: count)
    assert clock.sleeping == 0
    count = 100
    congestion.watch(lambda: count)
    for _ in range(10):
        await clock.until_sleeping()
        clock.advance(timedelta(milliseconds=50))
    count = 0
    assert asked >= 9
    assert room.places == Room(most=MOST, clock=clock).places
    await congestion.aclose()
    assert clock.sleeping == 0


@pytest.mark.parametrize("waits_s", [0.2, 1.0])
async def test_a_probe_that_waits_takes_places_away(waits_s: float) -> None:
    """
    The longer it waits, the more.
    """
    clock = FakeClock()
    room = Room(most=MOST, clock=clock)
    for under_way in range(room.places):
        room.has_place(under_way)
    before = room.places

    async def probe() -> bool:
        await clock.sleep(timedelta(seconds=waits_s))
        return True

    congestion = Congestion(room, probe=probe, clock=clock)
    congestion.watch(lambda: 100)
    await clock.until_sleeping()
    clock.advance(timedelta(seconds=waits_s))
    await clock.until_sleeping()
    clock.advance(timedelta(seconds=1))
    await clock.until_sleeping()
    assert room.places == int(before * (0.5 if waits_s > 0.4 else 0.8))
    await congestion.aclose()
