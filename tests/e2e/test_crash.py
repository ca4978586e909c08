"""kill -9 in the middle of a burst: whatever was acknowledged is there after the restart."""

import http.client
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.e2e.running import dev, wait_until
from tests.e2e.wire import Service

THREADS = 12
ENOUGH = 60  # acknowledged logins before the kill


@dataclass(slots=True)
class Ledger:
    """What the service acknowledged; a call that got no answer may have happened or not."""

    logins: dict[str, dict[str, Any]] = field(default_factory=dict)
    revoking: set[str] = field(default_factory=set)
    revoked: set[str] = field(default_factory=set)

    @property
    def settled(self) -> list[dict[str, Any]]:
        """Logins that nobody tried to revoke."""
        return [login for session, login in self.logins.items() if session not in self.revoking]


def burst(service: Service, ledger: Ledger, *, name: str) -> list[threading.Thread]:
    """Threads that log in and revoke every other session until nobody answers them any more."""

    def work(number: int) -> None:
        try:
            for turn in range(10_000):
                login = service.login(f"{name}-{number}-{turn}")
                session = login["session_id"]
                ledger.logins[session] = login
                if turn % 2:
                    ledger.revoking.add(session)
                    if turn % 4 == 1:
                        service.revoke(session_id=session)
                    else:
                        assert service.logout(login["access_token"]).status == 200
                    ledger.revoked.add(session)
        except (OSError, http.client.HTTPException, grpc.RpcError, AssertionError):
            return  # the service is gone

    threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    return threads


def kill_in_a_burst(folder: Path, ledger: Ledger, *, name: str) -> None:
    """One round: start, burst, SIGKILL once enough was acknowledged since the start."""
    before = len(ledger.logins)
    with dev(folder) as (process, service):
        check(service, ledger)
        threads = burst(service, ledger, name=name)
        wait_until(lambda: len(ledger.logins) - before >= ENOUGH, what="enough acknowledged logins")
        process.process.kill()
        for thread in threads:
            thread.join(60)
        assert process.process.wait(30) == -9


def check(service: Service, ledger: Ledger) -> None:
    """Every acknowledged login is live and every acknowledged revocation holds, for both of its tokens."""
    for session in ledger.revoked:
        login = ledger.logins[session]
        assert service.verdict(login["access_token"]) == "SESSION_REVOKED", session
        assert service.refresh(login["refresh_token"]).reason == "SESSION_ENDED"
    for login in ledger.settled:
        assert service.verdict(login["access_token"]) == "active"
        answer = service.refresh(login["refresh_token"])
        assert (answer.status, answer.json["session_id"]) == (200, login["session_id"])
        login.update(answer.json)


def test_what_was_acknowledged_before_a_kill_is_there_after_the_restart(tmp_path: Path) -> None:
    """
    Logins can be refreshed, revocations hold, and the revoked are never called active again.
    """
    ledger = Ledger()
    kill_in_a_burst(tmp_path, ledger, name="once")
    assert ledger.revoked
    assert ledger.settled
    with dev(tmp_path) as (process, service):
        check(service, ledger)
        assert process.stop() == 0


@pytest.mark.long
@pytest.mark.timeout(600)
def test_rounds_of_kills_lose_nothing(tmp_path: Path) -> None:
    """
    The same, eight times over on one data directory, with everything of all rounds checked after each start.
    """
    ledger = Ledger()
    for number in range(8):
        kill_in_a_burst(tmp_path, ledger, name=f"round{number}")
    with dev(tmp_path) as (_, service):
        check(service, ledger)
