"""What a run was worth: how much was asked and answered, and how late revocations were known."""

from collections import Counter, defaultdict
from dataclasses import dataclass

from tests.faults.history import Call, History, Kind, Outcome


@dataclass(frozen=True, slots=True)
class Report:
    """Calls by kind and outcome; lags in seconds, one per Revoke and target that was asked until it refused."""

    calls: Counter[tuple[Kind, Outcome]]
    lags: tuple[float, ...]
    kills: int = 0

    def ok(self, kind: Kind) -> int:
        return self.calls[kind, Outcome.OK]

    def percentile(self, share: float) -> float:
        """Return the lag that *share* of all do not exceed."""
        return self.lags[min(int(len(self.lags) * share), len(self.lags) - 1)] if self.lags else 0.0

    def __str__(self) -> str:
        by_kind = defaultdict(list)
        for (kind, outcome), count in sorted(self.calls.items()):
            by_kind[kind].append(f"{outcome} {count}")
        parts = [f"{kind}: {', '.join(counts)}" for kind, counts in by_kind.items()]
        lag = "/".join(f"{1000 * self.percentile(share):.0f}" for share in (0.5, 0.99, 1.0))
        return (
            f"{self.calls.total()} calls, {self.kills} kills; {'; '.join(parts)}; "
            f"lag p50/p99/max {lag} ms over {len(self.lags)}"
        )


def summarize(history: History, *, kills: int = 0) -> Report:
    """
    Return the report of a history.

    A lag is how long after the acknowledgement the last call began that was still told `active`, less what the
    machine stood still or we ourselves disturbed meanwhile; zero where none was.
    """
    revokes: dict[str, Call] = {}
    for call in history.of(Kind.REVOKE):
        if call.ok and call.session:
            known = revokes.setdefault(call.session, call)
            if call.end < known.end:
                revokes[call.session] = call
    last: dict[tuple[str, str], float] = {}
    for call in history.of(Kind.VERIFY):
        revoke = revokes.get(call.session)
        if revoke is None or not call.ok or call.start < revoke.end:
            continue
        key = (call.session, call.target)
        lag = history.undisturbed_s(revoke.end, call.start, call.target) if call.active else 0.0
        last[key] = max(last.get(key, 0.0), lag)
    calls = Counter((call.kind, call.outcome) for call in history.calls)
    return Report(calls=calls, lags=tuple(sorted(last.values())), kills=kills)
