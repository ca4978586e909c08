"""Which positions were the log's head, and when."""

from hypothesis import given
from hypothesis import strategies as st

from authsvc.service.heads import KEPT, STEP_S, Heads


@given(st.lists(st.tuples(st.sampled_from([1, 10, 50, 256]), st.sampled_from([0, 0, 1, 7])), max_size=200))
def test_never_younger_and_hardly_older_than_true(moves: list[tuple[int, int]]) -> None:
    """Against every confirmation there was: the answer is true, and less than a step older than the best one."""
    heads, at, position = Heads(), 0.0, 10
    heads.confirm(position, at)
    confirmed = [(position, at)]
    for later, higher in moves:
        at, position = at + later / 1024, position + higher
        heads.confirm(position, at)
        confirmed.append((position, at))
    for asked in range(10, position + 3):
        best = max(then for head, then in confirmed if head <= asked)
        assert best - STEP_S < heads.confirmed_at(asked) <= best
    assert heads.confirmed_at(position) == at
    assert heads.confirmed_at(9) == float("-inf")


def test_memory_is_bounded_and_reaches_beyond_the_longest_hard_bound() -> None:
    """A log that moves at every poll: what was forgotten is older than 300 s, and is called unknown."""
    heads = Heads()
    for n in range(20 * KEPT):
        heads.confirm(n, n * STEP_S / 4)
    now = (20 * KEPT - 1) * STEP_S / 4
    assert len(heads) <= 2 * KEPT
    assert heads.confirmed_at(0) == float("-inf")
    then = int((now - 300) / (STEP_S / 4))
    assert heads.confirmed_at(then) > now - 300 - 2 * STEP_S
