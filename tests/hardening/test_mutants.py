"""Token mutants against four verifiers; the full number runs in test_mutants_long."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from authsvc.domain.access_token import InactiveReason
from authsvc.domain.sessions import EndReason
from authsvc_client.revocations import Fact, Kind
from tests.hardening.judges import Bench, bench
from tests.hardening.mutants import Attacker
from tests.hardening.trial import try_mutants, try_variants
from tests.support.tokens import twin

pytestmark = pytest.mark.filterwarnings("ignore:EdDSA is deprecated:joserfc.errors.SecurityWarning")
SEED, COUNT = 1, 3000


@pytest.fixture
async def tried(tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench(tmp_path) as built:
        yield built


async def test_the_verifiers_agree_on_good_tokens(tried: Bench) -> None:
    """What the mutants are made of is accepted by all of ours and by joserfc; so a refusal below means something."""
    for token in Attacker(tried, seed=SEED).good:
        assert await tried.server(token) is None
        assert tried.client(token) is None
        assert tried.joserfc(token)


async def test_no_mutant_is_accepted(tried: Bench) -> None:
    """Neither by the server nor by the client, which give the same reason; nor do they raise."""
    trial = await try_mutants(tried, seed=SEED, count=COUNT)
    assert trial.accepted == []
    assert trial.quarrels == []
    assert trial.count == COUNT
    # Every kind of damage is in the set, and so are the reasons that such damage can have.
    assert min(trial.kinds.values()) > COUNT // 20
    assert {"MALFORMED", "UNKNOWN_KEY", "BAD_SIGNATURE", "WRONG_TYPE"} <= trial.reasons.keys()


async def test_whatever_we_accept_joserfc_accepts(tried: Bench) -> None:
    """Of tokens that our own keys signed, with unusual claims and headers: none that only we would take."""
    trial = await try_variants(tried)
    assert trial.quarrels == []
    assert [token for token in trial.accepted if not tried.joserfc(token)] == []
    # Both ways of it happen, or the comparison would say nothing.
    assert len(trial.accepted) > 100
    assert trial.count - len(trial.accepted) > 300


async def test_the_twin_lives_and_dies_with_its_session(tried: Bench) -> None:
    """ECDSA's other spelling is one token with the first: accepted, and dead by the same fact, here and there."""
    session = (await tried.core.login()).opened.session
    token = tried.keyring.ours["ES256"].token(tried.payload(sid=session.session_id, sub=session.user_id))
    spellings = (token, twin(token))
    assert spellings[0] != spellings[1]
    for text in spellings:
        assert (await tried.server(text), tried.client(text), tried.joserfc(text)) == (None, None, True)
    ended = await tried.core.store.real.end_session(session.session_id, reason=EndReason.LOGOUT, by="user")
    assert tried.core.tail.apply_own(ended) == 1
    tried.view.apply([Fact(Kind.SESSION, session.session_id, ended.head.position)])
    for text in spellings:
        assert await tried.server(text) is InactiveReason.SESSION_REVOKED
        assert tried.client(text) is InactiveReason.SESSION_REVOKED
