"""
Who may ask how often. Failures are counted first: an address may bring thousands of good users and one abuser.

What a stranger sends is limited by what it costs to be wrong. Attempts have wide bounds, because behind one carrier
address stand thousands; failures have tight ones, by code, by device and by address, and a good login gives part of an
address's failures back. A device that has logged in before is not held to its address's failures: nobody else knows its
id (the device cookies of OWASP's "Slow Down Online Guessing Attacks"). What holds for a principal is kept in this
process alone and costs no wait, so that VerifyToken stays free of I/O.

Where buckets are kept is the business of `ports.limits`, what a process can do at once that of `admission`.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType

from authsvc.domain.apps import App
from authsvc.domain.errors import LoginCodeInvalid, LoginCodeUsed, UserBlocked
from authsvc.domain.limits import Rate, network_of
from authsvc.domain.sessions import ClientInfo
from authsvc.ports import Clock
from authsvc.ports.limits import Ask, Limit, Limits
from authsvc.service.buckets import Buckets
from authsvc.service.throttling import Throttling

# What is the caller's doing. Our own and WeChat's failures say nothing of who asks.
_FAILURES = (LoginCodeInvalid, LoginCodeUsed, UserBlocked)
# How long a device is known to have logged in well: as long as a session may live without its user.
_KNOWN = Limit("login.known_device", Rate(per_second=1 / (30 * 86400), burst=1))


# What holds unless somebody says otherwise, as `Rate.parse` reads it.
DEFAULT_RATES: Mapping[str, str] = MappingProxyType(
    {
        "login_app": "500/s burst 10000",
        "login_ip": "100/s burst 10000",
        "login_device": "1/s burst 30",
        "login_user": "30/min burst 30",
        "login_failed_code": "18/h burst 3",
        "login_failed_device": "2/min burst 10",
        "login_failed_sender": "1/s burst 50",
        "login_failed_ip": "5/s burst 300",
        "refresh_ip": "500/s burst 20000",
        "refresh_session": "12/min burst 30",
        "refresh_forged_ip": "12/min burst 20",
        "principal_calls": "5000/s burst 20000",
        "principal_checks": "100000/s burst 500000",
        "principal_watches": "100/s burst 5000",
    }
)
WIDE = 1000
"""How much wider rules are where load tests run against them, with everybody on one address."""


@dataclass(frozen=True, slots=True)
class LimitRules:
    """The rates. Each bounds one key: an address (IPv6: a /64), an app, a device of an app, a user, a principal."""

    login_app: Rate
    login_ip: Rate
    login_device: Rate
    login_user: Rate
    login_failed_code: Rate
    login_failed_device: Rate
    login_failed_sender: Rate
    login_failed_ip: Rate
    refresh_ip: Rate
    refresh_session: Rate
    refresh_forged_ip: Rate
    principal_calls: Rate
    principal_checks: Rate
    principal_watches: Rate

    @classmethod
    def default(cls, **rates: Rate) -> "LimitRules":
        """Return the default rules with these in the place of their own."""
        return cls(**{name: rates.get(name) or Rate.parse(text) for name, text in DEFAULT_RATES.items()})


class Limiter:
    """
    The rules in force. Every refusal is `RateLimited`, with a wait (see `throttling`).

    *pepper* is a key of this deployment: whoever reads the buckets learns no address and no device id.
    """

    def __init__(
        self,
        *,
        rules: LimitRules,
        shared: Limits,
        buckets: Buckets,
        pepper: bytes,
        clock: Clock,
        throttling: Throttling,
    ) -> None:
        self._shared = shared
        self._buckets = buckets
        self._pepper = hashlib.blake2b(pepper, person=b"authsvc limits").digest()
        self._clock = clock
        self._throttling = throttling
        self._rules = rules
        self._login_ip = Limit("login.ip", rules.login_ip)
        self._login_device = Limit("login.device", rules.login_device)
        self._login_user = Limit("login.user", rules.login_user)
        self._failed_code = Limit("login.failed_code", rules.login_failed_code)
        self._failed_device = Limit("login.failed_device", rules.login_failed_device)
        self._failed_sender = Limit("login.failed_sender", rules.login_failed_sender)
        self._failed_ip = Limit("login.failed_ip", rules.login_failed_ip)
        self._refresh_ip = Limit("refresh.ip", rules.refresh_ip)
        self._refresh_session = Limit("refresh.session", rules.refresh_session)
        self._forged_ip = Limit("refresh.forged_ip", rules.refresh_forged_ip)
        self._calls = Limit("principal.calls", rules.principal_calls)
        self._checks = Limit("principal.checks", rules.principal_checks)
        self._watches = Limit("principal.watches", rules.principal_watches)

    async def admit_login(self, app: App, client: ClientInfo, *, code_hash: bytes) -> None:
        """
        Count an attempt; nothing was sent or claimed yet.

        Raises:
            RateLimited: too many attempts, or too many failures before this one.

        """
        login_app = Limit("login.app", app.login_rate or self._rules.login_app)
        asks = [
            Ask(login_app, self._key(app.app_id)),
            Ask(self._failed_code, self._key(app.app_id, code_hash), cost=0),
        ]
        network = network_of(client.ip)
        if client.device_id:
            asks.append(Ask(self._login_device, self._key(app.app_id, client.device_id, network)))
        if sender := self._sender(app, client, network):
            asks.append(Ask(*sender, cost=0))
        if network:
            asks.append(Ask(self._login_ip, self._key(network)))
            if client.device_id:
                asks.append(Ask(_KNOWN, self._device(app, client), waives=True))
            asks.append(Ask(self._failed_ip, self._key(network), cost=0))
        await self._take(asks)

    async def login_failed(self, app: App, client: ClientInfo, error: Exception, *, code_hash: bytes) -> None:
        """Count the failure of an admitted login, if it is the caller's doing."""
        if not isinstance(error, _FAILURES):
            return
        asks = [Ask(self._failed_code, self._key(app.app_id, code_hash))]
        network = network_of(client.ip)
        if sender := self._sender(app, client, network):
            asks.append(Ask(*sender))
        if network:
            asks.append(Ask(self._failed_ip, self._key(network)))
        await self._shared.charge(asks)

    async def login_succeeded(self, app: App, client: ClientInfo) -> None:
        """Give failures back to the address, and know the device from now on."""
        network = network_of(client.ip)
        asks = []
        if client.device_id:
            asks.append(Ask(_KNOWN, self._device(app, client)))
        elif sender := self._sender(app, client, network):
            asks.append(Ask(*sender, cost=-1))
        if network:
            asks.append(Ask(self._failed_ip, self._key(network), cost=-1))
        if asks:
            await self._shared.charge(asks)

    async def admit_user(self, app: App, openid: str) -> None:
        """
        Count a login of this user, whom WeChat has just named; nothing was stored yet.

        Raises:
            RateLimited: too many; the code is spent, a later login takes a new one.

        """
        await self._take([Ask(self._login_user, self._key(app.app_id, openid))])

    async def admit_refresh(self, session_id: str, client: ClientInfo) -> None:
        """
        Count a refresh whose token is one of ours; nothing was looked up yet.

        Raises:
            RateLimited: too many of this session, or of this address.

        """
        asks = [Ask(self._refresh_session, self._key(session_id))]
        if network := network_of(client.ip):
            asks.append(Ask(self._refresh_ip, self._key(network)))
        await self._take(asks)

    async def forged_refresh(self, client: ClientInfo) -> None:
        """
        Count a refresh token that is none of ours. Good ones behind the same address are not held to it.

        Raises:
            RateLimited: too many of this address.

        """
        if network := network_of(client.ip):
            await self._take([Ask(self._forged_ip, self._key(network))])

    def admit_call(self, principal: str, *, now: float) -> None:
        """
        Count a call of *principal* at *now* (Clock.elapsed). Without any wait.

        Raises:
            RateLimited: too many.

        """
        self._take_here(self._calls, principal, now=now)

    def admit_checks(self, principal: str, *, now: float, tokens: int = 1) -> None:
        """
        Count *tokens* to be checked for *principal* at *now* (Clock.elapsed). Without any wait.

        Raises:
            RateLimited: too many.

        """
        self._take_here(self._checks, principal, now=now, cost=tokens)

    def admit_watch(self, principal: str) -> None:
        """
        Count the beginning of a stream; how many may run is the business of `watch`.

        Raises:
            RateLimited: too many.

        """
        self._take_here(self._watches, principal, now=self._clock.elapsed())

    async def _take(self, asks: Sequence[Ask]) -> None:
        refusal = await self._shared.take(asks)
        if refusal is not None:
            self._throttling.refuse(refusal.limit, refusal.wait)

    def _take_here(self, limit: Limit, principal: str, *, now: float, cost: float = 1) -> None:
        wait = self._buckets.take_one(limit, principal, now=now, cost=cost)
        if wait:
            self._throttling.refuse(limit.name, timedelta(seconds=wait))

    def _sender(self, app: App, client: ClientInfo, network: str) -> tuple[Limit, str] | None:
        """Return whose failures these are: a device's, else those of like clients behind one address."""
        if client.device_id:
            # With its address, as attempts: who learns an id must not lock its owner out from elsewhere.
            return self._failed_device, self._key(app.app_id, client.device_id, network)
        if network:
            return self._failed_sender, self._key(network, client.user_agent)
        return None

    def _device(self, app: App, client: ClientInfo) -> str:
        return self._key(app.app_id, client.device_id)

    def _key(self, *parts: str | bytes) -> str:
        digest = hashlib.blake2b(key=self._pepper, digest_size=16)
        for part in parts:
            raw = part if isinstance(part, bytes) else part.encode()
            digest.update(len(raw).to_bytes(4, "big"))
            digest.update(raw)
        return digest.hexdigest()
