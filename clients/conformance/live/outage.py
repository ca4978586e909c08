"""A service that is gone for longer than the hard bound, and comes back: what each language's verifier does meanwhile."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from clients.conformance.live.programs import Broken, Program
from tests.e2e.running import Running, running
from tests.e2e.wire import Service

# The hard bound of every program is the default, 30 s; a machine's own delays are allowed for on either side.
_WITHIN_S, _BEYOND_S, _RECOVERED_S = 10.0, 34.0, 30.0
_LOOK_EVERY_S = 0.05


@dataclass
class Survived:
    """What was seen of each language, and whatever was not as it should be."""

    recovered_s: dict[str, float] = field(default_factory=dict)
    refused_ms: dict[str, float] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def table(self) -> str:
        """Return it for people."""
        title = f"service gone for {_BEYOND_S:.0f} s"
        lines = [f"{title:<26}{'decides again s':>18}{'then refuses ms':>18}"]
        for language, recovered in self.recovered_s.items():
            lines.append(f"{language:<26}{recovered:>18.2f}{self.refused_ms[language]:>18.1f}")
        return "\n".join(lines)


def survive(process: Running, service: Service, programs: Sequence[Program]) -> Survived:
    """
    Stop the service, and start it again on the same port and data once every verifier has to have stopped deciding.

    Within the hard bound a good token is active, beyond it nobody knows; then it is active again, without a restart of
    the program, and a revocation reaches everybody.
    """
    survived = Survived()
    login = service.login("outage")
    token = login["access_token"]
    port = service.addresses["grpc"].rpartition(":")[2]
    _expect(survived, programs, f"watch outage {token}", "watching outage")
    process.stop()
    gone_at = time.monotonic()  # noqa: TID251 - what is measured is real time
    for until_s, expected in ((0.0, "active"), (_WITHIN_S, "active"), (_BEYOND_S, "unavailable")):
        _wait_until(gone_at + until_s)
        _expect(survived, programs, f"verify {token}", expected)
    with _again(process.folder, port) as back:
        back_at = time.monotonic()  # noqa: TID251 - as above
        for program in programs:
            survived.recovered_s[program.language] = _until_active(program, token) - back_at
        sent_ms = time.time() * 1000  # noqa: TID251 - as above
        back.revoke(session_id=login["session_id"])
        for program in programs:
            reason, at_ms = program.refusal("outage")
            survived.refused_ms[program.language] = at_ms - sent_ms
            if reason != "SESSION_REVOKED":
                survived.faults.append(f"{program.language}: refused with {reason} after the outage")
    return survived


@contextmanager
def _again(folder: Path, port: str) -> Iterator[Service]:
    """The same service once more."""
    others = ("--http-port", "0", "--sandbox-port", "0", "--ops-port", "0")
    words = ("dev", "--grpc-port", port, *others, "--data-dir", str(folder / "data"), "--quiet")
    with running(folder, *words) as process, Service(process.addresses()) as service:
        yield service


def _expect(survived: Survived, programs: Sequence[Program], line: str, expected: str) -> None:
    for program in programs:
        answer = program.ask(line)
        if answer != expected:
            verb = line.partition(" ")[0]
            survived.faults.append(f"{program.language}: {verb} was answered {answer!r}, not {expected!r}")


def _wait_until(moment: float) -> None:
    while (left := moment - time.monotonic()) > 0:  # noqa: TID251 - an outage takes its time
        time.sleep(min(left, 1.0))  # noqa: TID251 - as above


def _until_active(program: Program, token: str) -> float:
    """Return when the program decides again."""
    deadline = time.monotonic() + _RECOVERED_S  # noqa: TID251 - bounds a wait for a real process
    while program.ask(f"verify {token}") != "active":
        if time.monotonic() > deadline:  # noqa: TID251 - as above
            raise Broken(f"{program.language} did not decide again within {_RECOVERED_S:.0f} s")
        time.sleep(_LOOK_EVERY_S)  # noqa: TID251 - as above
    return time.monotonic()  # noqa: TID251 - as above
