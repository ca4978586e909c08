"""A hundred thousand token mutants, and what our own keys sign, before our verifiers and two that others wrote."""

from pathlib import Path

import pytest

from tests.hardening import node_jose
from tests.hardening.judges import Bench, bench
from tests.hardening.mutants import Attacker
from tests.hardening.trial import try_mutants, try_variants
from tests.hardening.variants import variants
from tests.support.tokens import twin

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(3600),
    pytest.mark.filterwarnings("ignore:EdDSA is deprecated:joserfc.errors.SecurityWarning"),
]
SEED, COUNT = 20261122, 105_000


def twins(tried: Bench) -> list[str]:
    """The documented exception: the other spelling of an ECDSA signature."""
    es256 = tried.keyring.ours["ES256"]
    return [twin(es256.token(tried.payload(jti=f"{number:022}"))) for number in range(200)]


async def test_none_of_a_hundred_thousand_mutants_is_accepted(tmp_path: Path) -> None:
    """Neither by the server nor by the client, which agree on every reason."""
    async with bench(tmp_path) as tried:
        trial = await try_mutants(tried, seed=SEED, count=COUNT)
        assert trial.count >= 100_000
        assert trial.accepted == []
        assert trial.quarrels == []


async def test_whatever_we_accept_others_accept(tmp_path: Path) -> None:
    """
    Of the same mutants, the good tokens, their twins and the variants of our own keys: joserfc and jose refuse none
    that either of ours takes.
    """
    async with bench(tmp_path) as tried:
        attacker = Attacker(tried, seed=SEED)
        tokens = [mutant.text for mutant in attacker.mutants(COUNT)]
        own = [*attacker.good, *twins(tried), *(token for _, token in variants(tried))]
        tokens += own
        accepted = {
            token for token in tokens if await tried.server(token) is None or tried.client(token) is None
        }
        assert len(accepted) > 500
        assert accepted <= set(own)
        by_joserfc = {token for token in tokens if tried.joserfc(token)}
        assert accepted - by_joserfc == set()
        judge_file = node_jose.install(tmp_path / "jose")
        by_jose = {
            token
            for token, good in zip(tokens, node_jose.judge(judge_file, tried, tokens), strict=True)
            if good
        }
        assert accepted - by_jose == set()
        # They do refuse: the comparison is with verifiers that verify.
        assert len(by_jose) < len(accepted) * 3
        assert len(by_joserfc) < len(accepted) * 3


async def test_the_variants_are_judged_alike_by_both_of_ours(tmp_path: Path) -> None:
    """Whatever our keys sign, the server and the client give the same reason."""
    async with bench(tmp_path) as tried:
        assert (await try_variants(tried)).quarrels == []
