"""PackedFacts is a dictionary in less memory."""

from hypothesis import given
from hypothesis import strategies as st

from authsvc.service.packed import FOREVER_S, Entry, PackedFacts

# Few keys, some of them neighbours in one bucket, so that entries meet.
KEYS = st.sampled_from([0, 1, 2, 2**56 - 1, 2**56, 2**63, 2**64 - 2, 2**64 - 1])
ENTRIES = st.builds(
    Entry,
    position=st.integers(0, 2**64 - 1),
    reason=st.integers(0, 255),
    until_s=st.one_of(st.integers(0, 20), st.just(FOREVER_S)),
)
STEPS = st.lists(st.one_of(st.tuples(KEYS, ENTRIES), st.integers(0, 20)), max_size=60)


@given(STEPS)
def test_it_holds_what_a_dictionary_would(steps: list[tuple[int, Entry] | int]) -> None:
    """
    After any puts and packings every key answers as in a plain dictionary; packing forgets exactly what is past use.
    """
    facts, model = PackedFacts(), dict[int, Entry]()
    for step in steps:
        if isinstance(step, int):
            for _ in facts.pack(now_s=step):
                pass
            model = {key: entry for key, entry in model.items() if entry.until_s > step}
            assert len(facts) == len(model)
        else:
            facts.put(*step)
            model[step[0]] = step[1]
        for key in (0, 1, 2, 2**56 - 1, 2**56, 2**63, 2**64 - 2, 2**64 - 1):
            assert facts.get(key) == model.get(key)


def test_lookups_are_right_while_packing_goes_on() -> None:
    """
    Between any two steps of a packing everything put before, and everything put meanwhile, is found.
    """
    facts = PackedFacts()
    keys = [bucket << 56 | 7 for bucket in range(0, 256, 5)]
    for key in keys:
        facts.put(key, Entry(key >> 56, 1, FOREVER_S))
    for number, _ in enumerate(facts.pack(now_s=0)):
        late = number << 56 | 9
        facts.put(late, Entry(number, 2, FOREVER_S))
        assert facts.get(late) == Entry(number, 2, FOREVER_S)
        assert all(facts.get(key) == Entry(key >> 56, 1, FOREVER_S) for key in keys)


def test_packing_is_wanted_in_proportion() -> None:
    """
    Much recent beside little packed wants packing; packing satisfies it.
    """
    facts = PackedFacts()
    assert not facts.wants_packing
    for key in range(5000):
        facts.put(key << 51, Entry(1, 1, FOREVER_S))
    assert facts.wants_packing
    for _ in facts.pack(now_s=0):
        pass
    assert not facts.wants_packing
