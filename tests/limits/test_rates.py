"""Rates, the algorithm, and what an address counts as."""

from collections import deque
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authsvc.domain.limits import Rate, network_of, taken, wait_for

RATES = st.builds(
    Rate, per_second=st.floats(min_value=0.001, max_value=1000), burst=st.integers(min_value=1, max_value=50)
)
PAUSES = st.lists(st.floats(min_value=0, max_value=20), min_size=1, max_size=80)


@pytest.mark.parametrize(
    ("text", "per_second", "burst"),
    [
        ("100/s burst 5000", 100, 5000),
        ("6/min", 0.1, 6),
        ("0.5/s", 0.5, 1),
        (" 18/h burst 3 ", 0.005, 3),
        ("1/d", 1 / 86400, 1),
    ],
)
def test_a_rate_is_read_as_it_is_written(text: str, per_second: float, burst: int) -> None:
    """
    A count per unit, and what may come at once.
    """
    rate = Rate.parse(text)
    assert rate.per_second == pytest.approx(per_second)
    assert rate.burst == burst


@pytest.mark.parametrize(
    "text",
    ["", "100", "0/s", "1/s burst 0", "-1/s", "1/week", "1/s burst", "inf/s", "1e3/s", "1/s burst 1.5"],
)
def test_what_is_no_rate_is_refused(text: str) -> None:
    """
    Nothing is guessed, and no rate allows nothing.
    """
    with pytest.raises(ValueError, match=r"rate"):
        Rate.parse(text)


@given(rate=RATES, pauses=PAUSES)
def test_no_window_ever_holds_more_than_burst_and_rate_allow(rate: Rate, pauses: list[float]) -> None:
    """
    Whatever the pauses, any span of t seconds admits at most burst + rate * t, and what was refused costs nothing.
    """
    now, full_at = 1000.0, 0.0
    admitted: deque[float] = deque()
    for pause in pauses:
        now += pause
        wait = wait_for(rate, full_at, now=now, cost=1)
        if wait:
            assert wait <= rate.interval * (1 + 1e-6)
            continue
        full_at = taken(rate, full_at, now=now, cost=1)
        admitted.append(now)
        for position, since in enumerate(admitted):
            count = len(admitted) - position
            assert count <= rate.burst + rate.per_second * (now - since) + 1e-3


@given(rate=RATES, pauses=PAUSES)
def test_who_waits_as_long_as_told_is_admitted(rate: Rate, pauses: list[float]) -> None:
    """
    The wait is enough, and (but for rounding) not longer than needed.
    """
    now, full_at = 1000.0, 0.0
    for pause in pauses:
        now += pause / 100
        wait = wait_for(rate, full_at, now=now, cost=1)
        if wait > 1e-3:
            assert wait_for(rate, full_at, now=now + wait * 0.99 - 1e-5, cost=1) > 0
        now += wait + 1e-6
        assert wait_for(rate, full_at, now=now, cost=1) == 0
        full_at = taken(rate, full_at, now=now, cost=1)


@given(rate=RATES, costs=st.lists(st.floats(min_value=-100, max_value=100), max_size=50))
def test_a_bucket_never_owes_and_never_overflows(rate: Rate, costs: list[float]) -> None:
    """
    However much is charged, a token is there again after one interval; however much is given back, it is just full.
    """
    now, full_at = 1000.0, 0.0
    for cost in costs:
        full_at = taken(rate, full_at, now=now, cost=cost)
        assert now <= full_at <= now + rate.depth
        assert wait_for(rate, full_at, now=now, cost=1) <= rate.interval * (1 + 1e-9)


@given(address=st.integers(min_value=0, max_value=2**32 - 1), zone=st.sampled_from(["", "%eth0", "%1"]))
def test_one_v4_address_counts_as_itself_however_it_is_spelled(address: int, zone: str) -> None:
    """
    Within IPv6, in capitals, as hex groups, with a zone: the same.
    """
    plain = str(IPv4Address(address))
    high, low = address >> 16, address & 0xFFFF
    spellings = [
        plain,
        f" {plain} ",
        f"::ffff:{plain}",
        f"::FFFF:{plain}{zone}",
        f"0:0:0:0:0:ffff:{high:x}:{low:X}",
    ]
    assert {plain} == {network_of(spelling) for spelling in spellings}


@given(
    prefix=st.integers(min_value=1, max_value=2**64 - 1),
    hosts=st.lists(st.integers(min_value=0, max_value=2**64 - 1), min_size=1, max_size=20),
)
def test_all_of_a_v6_64_counts_as_one_and_its_neighbour_as_another(prefix: int, hosts: list[int]) -> None:
    """
    Whatever the host part and its spelling.
    """
    inside = {IPv6Address((prefix << 64) | host) for host in hosts}
    networks = {network_of(text) for one in inside for text in (str(one), one.exploded.upper(), f"{one}%en0")}
    assert len(networks) == 1
    assert network_of(str(IPv6Address(((prefix ^ 1) << 64) | hosts[0]))) not in networks


@given(text=st.text(max_size=60))
def test_what_is_no_address_counts_as_nothing(text: str) -> None:
    """
    No text raises, and what counts as something counts as itself again.
    """
    network = network_of(text)
    assert not network or network_of(network.removesuffix("/64")) == network
