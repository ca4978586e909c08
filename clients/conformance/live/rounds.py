"""Rounds of login, watch and revoke against a real service, and what each took in each language."""

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median, quantiles
from typing import Any

from clients.conformance.live.programs import Program
from tests.e2e.wire import D1, Service

LIMIT_MS = 1000.0
"""DESIGN section 3: a revocation is known everywhere within 1 s while connected."""


@dataclass(frozen=True)
class Kind:
    """A way to revoke, and the reason that verifiers give for it."""

    name: str
    reason: str
    revoke: Callable[[Service, dict[str, Any]], object]


KINDS = (
    Kind("logout", "SESSION_REVOKED", lambda service, login: service.logout(login["access_token"])),
    Kind("session", "SESSION_REVOKED", lambda service, login: service.revoke(session_id=login["session_id"])),
    Kind("user", "USER_REVOKED", lambda service, login: service.revoke(user={"user_id": login["user_id"]})),
    Kind("app", "APP_REVOKED", lambda service, _: service.revoke(app_id=D1)),
)


@dataclass
class Measured:
    """Milliseconds from sending a revocation to each refusal, by language; and whatever was not as it should be."""

    took_ms: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    faults: list[str] = field(default_factory=list)

    def table(self) -> str:
        """Return it for people."""
        lines = [f"{'revoke → refusal':<18}{'rounds':>8}{'p50 ms':>10}{'p99 ms':>10}{'max ms':>10}"]
        for language, took in self.took_ms.items():
            cells = (median(took), p99(took), max(took))
            lines.append(f"{language:<18}{len(took):>8}" + "".join(f"{cell:>10.1f}" for cell in cells))
        return "\n".join(lines)

    @property
    def too_slow(self) -> list[str]:
        """The languages that do not keep the promise."""
        return [language for language, took in self.took_ms.items() if p99(took) >= LIMIT_MS]


def p99(values: Sequence[float]) -> float:
    """Return the 99th percentile."""
    return values[0] if len(values) == 1 else quantiles(values, n=100, method="inclusive")[98]


def play(service: Service, programs: Sequence[Program], *, rounds: int) -> Measured:
    """Log in, let every program watch the token, revoke it one way or another, and note when each refuses it."""
    measured = Measured()
    for number in range(rounds):
        kind = KINDS[number % len(KINDS)]
        login = service.login(f"user-{number}")
        token, name = login["access_token"], f"{kind.name}-{number}"
        for program in programs:
            _expect(measured, program, f"watch {name} {token}", f"watching {name}")
        sent_ms = time.time() * 1000  # noqa: TID251 - what is measured is real time
        kind.revoke(service, login)
        for program in programs:
            reason, at_ms = program.refusal(name)
            measured.took_ms[program.language].append(at_ms - sent_ms)
            if reason != kind.reason:
                measured.faults.append(f"{program.language}: {name} refused with {reason}")
            _expect(measured, program, f"verify {token}", f"inactive {kind.reason}")
    for program in programs:
        _expect(measured, program, "verify no.token", "inactive MALFORMED")
    return measured


def _expect(measured: Measured, program: Program, line: str, expected: str) -> None:
    answer = program.ask(line)
    if answer != expected:
        measured.faults.append(
            f"{program.language}: {line.split(' ', maxsplit=1)[0]} was answered {answer!r}, not {expected!r}"
        )
