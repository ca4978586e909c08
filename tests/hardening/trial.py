"""A set of tokens before our two verifiers: who accepts what, where the two differ, and what came of it."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.hardening.judges import Bench
from tests.hardening.mutants import Attacker
from tests.hardening.variants import variants


@dataclass(slots=True)
class Trial:
    """
    What came of it.

    `accepted` are the tokens that either of ours took; `quarrels` say where the reasons differ. Both hold what a token
    is made of, for a failing test to show: these are nobody's tokens.
    """

    count: int = 0
    accepted: list[str] = field(default_factory=list)
    quarrels: list[str] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)

    async def judge(self, bench: Bench, how: str, token: str) -> None:
        """Ask both."""
        server, client = await bench.server(token), bench.client(token)
        self.count += 1
        self.kinds[how] += 1
        self.reasons["ACTIVE" if server is None else server.name] += 1
        if server is None or client is None:
            self.accepted.append(token)
        if server != client:
            self.quarrels.append(f"{how}: {server!r} and {client!r}: {token!r:.200}")


async def try_mutants(bench: Bench, *, seed: int, count: int) -> Trial:
    """The attacker's."""
    return await _try(
        bench, ((mutant.how, mutant.text) for mutant in Attacker(bench, seed=seed).mutants(count))
    )


async def try_variants(bench: Bench) -> Trial:
    """Our own."""
    return await _try(bench, variants(bench))


async def _try(bench: Bench, tokens: Iterable[tuple[str, str]]) -> Trial:
    trial = Trial()
    for how, token in tokens:
        await trial.judge(bench, how, token)
    return trial
