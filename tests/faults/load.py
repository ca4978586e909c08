"""
People who log in, refresh, lose replies, log out; and services that verify, on every replica, the living and the dead.

Honest in the sense of I3 and I4: a token is presented again only while its successor has not been used. Bounded by
the event that ends it; every step waits a little, so that the servers are busy and the machine is not.
"""

import asyncio
import base64
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import aiohttp

from authapi.v1 import types_pb2
from tests.e2e.wire import CODE_PATH, D1
from tests.faults import real
from tests.faults.calls import Door, Grant, Recorder
from tests.faults.history import Call, Outcome

_PURSUE_S = 2.0
_AUDIT_TRIES = 30
_REPEAT_WITHIN_S = 1.0  # well within any grace window of these tests
_KEPT = 150
_ACCOUNTS = 6
_REFUSED_PAUSE_S = 0.05  # after a connection that was refused: it takes no time, so many would fit
_HOW = ("access_token", "refresh_token", "session_id", "user")


@dataclass(slots=True)
class Device:
    """
    One session as its client keeps it: what it was granted, by refresh token, the newest last.

    `fresh_at` is when the newest came, None once it has been presented: until then the one before it may be
    presented again, as by a client that lost the reply.
    """

    line: list[Grant]
    fresh_at: float | None = None
    over: bool = False

    @property
    def held(self) -> Grant:
        return self.line[-1]

    def receive(self, grant: Grant) -> None:
        """Keep what a refresh brought."""
        if grant.refresh == self.held.refresh:
            self.line[-1] = grant
        else:
            self.line.append(grant)
        self.fresh_at = real.now()


class Load:
    """
    The traffic. *verifiers* are asked one by one; *ring* takes the writes; *wechat* mints codes. `run` until told to
    stop, then `audit` once everything is well again.
    """

    def __init__(
        self,
        recorder: Recorder,
        *,
        ring: Door,
        verifiers: Sequence[Door],
        wechat: str,
        seed: int,
        people: int = 5,
        step_s: float = 0.01,
    ) -> None:
        self.recorder = recorder
        self.ring = ring
        self.verifiers = verifiers
        self._wechat = wechat
        self._random = real.dice(seed)
        self._people = people
        self._step_s = step_s
        self._living: deque[Device] = deque(maxlen=_KEPT)
        self._dead: deque[Grant] = deque(maxlen=_KEPT)
        self._codes: dict[str, str] = {}
        self._http: aiohttp.ClientSession | None = None

    async def run(self, stopping: asyncio.Event) -> None:
        """Return once *stopping* is set and everybody has finished what they were at."""
        async with aiohttp.ClientSession() as self._http, asyncio.TaskGroup() as group:
            for number in range(self._people):
                # Two share a person, who so comes to the cap of sessions and ends others' by ending all.
                group.create_task(self._live(f"u{max(number - 1, 0)}", stopping))
            group.create_task(self._watch(stopping))

    async def audit(self) -> None:
        """Ask for everything that is kept, at every verifier, and for the arrivals at WeChat."""
        for device in list(self._living):
            if device.over:
                continue
            for door in self.verifiers:
                await self.recorder.verify(door, device.held)
            for _ in range(_AUDIT_TRIES):
                if await self._refresh(device) not in (Outcome.LOST, Outcome.UNAVAILABLE):
                    break
                await real.pause(0.2)
            else:
                raise AssertionError(f"no answer in the audit: {device.held.session}")
        for grant in self._dead:
            await self.recorder.refresh(self.ring, grant)
            for door in self.verifiers:
                await self.recorder.verify(door, grant)
        async with aiohttp.ClientSession() as http, http.get(f"{self._wechat}/sandbox/v1/requests") as answer:
            counts = (await answer.json())["counts"]
        for code, label in self._codes.items():
            self.recorder.history.arrivals[label] = counts.get(code, 0)

    async def mint(self, user: str) -> str:
        """Return a fresh login code."""
        assert self._http is not None
        async with self._http.post(self._wechat + CODE_PATH, json={"app_id": D1, "user": user}) as answer:
            code = str((await answer.json())["code"])
        self._codes[code] = self.recorder.label(code, "code")
        return code

    async def _live(self, person: str, stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            grant = await self._login(person)
            if grant is None:
                await self._return()
                await real.pause(0.05)
                continue
            device = Device([grant])
            for _ in range(self._random.randrange(3, 15)):
                if device.over or stopping.is_set():
                    break
                await self._step(device)
                await real.pause(self._step_s)
            fate = self._random.random()
            if not device.over and fate < 0.6:
                await self._end(device)
            elif not device.over and fate > 0.9 and len(device.line) > 2:
                await self._steal(device)
            elif not device.over:
                self._living.append(device)

    async def _return(self) -> None:
        """Take up a device that was put away, as one does while nobody can log in."""
        if not self._living:
            return
        device = self._living.popleft()
        await self.recorder.verify(self._random.choice(self.verifiers), device.held)
        if self._random.random() < 0.3:
            await self.recorder.revoke(self.ring, device.held, self._random.choice(_HOW))
        await self._refresh(device)
        if not device.over:
            self._living.append(device)

    async def _login(self, person: str) -> Grant | None:
        # Several accounts each: WeChat throttles a user who logs in a hundred times a minute.
        user = f"{person}.{self._random.randrange(_ACCOUNTS)}"
        code = await self.mint(user)
        if self._random.random() < 0.2:  # a double tap
            twice = [self.recorder.login(self.ring, user=user, code=code) for _ in range(2)]
            return next((grant for grant in await asyncio.gather(*twice) if grant), None)
        return await self.recorder.login(self.ring, user=user, code=code)

    async def _step(self, device: Device) -> None:
        what = self._random.choices(
            ("verify", "refresh", "lose", "again", "at once", "forge", "keys"), (40, 18, 8, 8, 5, 4, 3)
        )[0]
        match what:
            case "verify":
                await self.recorder.verify(self._random.choice(self.verifiers), device.held)
            case "refresh":
                await self._refresh(device)
            case "lose":
                await self.recorder.refresh(
                    self.ring, device.held, lose_after=self._random.uniform(0.001, 0.02)
                )
                await self._refresh(device)
            case "again":
                recent = device.fresh_at is not None and real.now() - device.fresh_at < _REPEAT_WITHIN_S
                if recent and len(device.line) > 1:
                    await self.recorder.refresh(self.ring, device.line[-2])
            case "at once":
                await self._refresh_at_once(device)
            case "forge":
                await self._forge(device.held)
            case "keys":
                await self.recorder.jwks(self.ring)

    async def _refresh(self, device: Device) -> Outcome:
        presented, device.fresh_at = device.held, None
        grant = await self.recorder.refresh(self.ring, presented)
        if grant is not None:
            device.receive(grant)
            return Outcome.OK
        call = self._last(presented)
        device.over = call.outcome is Outcome.REFUSED
        return call.outcome

    async def _refresh_at_once(self, device: Device) -> None:
        presented, device.fresh_at = device.held, None
        grants = await asyncio.gather(*(self.recorder.refresh(self.ring, presented) for _ in range(3)))
        for grant in filter(None, grants):
            device.receive(grant)

    async def _steal(self, device: Device) -> None:
        """Present a token that was replaced twice: a thief's. The session must end with it."""
        await self.recorder.refresh(self.ring, device.line[-3])
        await self._refresh(device)

    async def _forge(self, grant: Grant) -> None:
        header, payload, signature = grant.access_token.split(".")
        other = base64.urlsafe_b64encode(self._random.randbytes(64)).rstrip(b"=").decode()
        door = self._random.choice(self.verifiers)
        await self.recorder.verify_forged(door, f"{header}.{payload}.{other}")
        await self.recorder.verify_forged(door, f"{header}.{payload[:-4]}AAAA.{signature}")
        await self.recorder.refresh_forged(self.ring, grant.refresh_token[:-6] + "AAAAAA")

    async def _end(self, device: Device) -> None:
        how = self._random.choices(_HOW, (4, 3, 3, 2))[0]
        for _ in range(5):
            done = await self.recorder.revoke(self.ring, device.held, how)
            if done is not None:
                break
            await real.pause(0.1)
        else:
            return  # nothing was acknowledged, so nothing is known
        device.over = True
        call, cursor = done
        await asyncio.gather(*(self._pursue(door, device.held, call, cursor) for door in self.verifiers))
        await self.recorder.refresh(self.ring, device.held)
        self._dead.append(device.held)

    async def _pursue(self, door: Door, grant: Grant, revoke: Call, cursor: types_pb2.Cursor) -> None:
        """Ask until this verifier has heard of it; every other time by the cursor."""
        assert revoke.position is not None
        by_cursor = self._random.random() < 0.3
        while real.now() - revoke.end < _PURSUE_S:
            at_least = (cursor, revoke.position) if by_cursor else None
            verdict = await self.recorder.verify(door, grant, at_least=at_least)
            if verdict.ok and not verdict.active:
                return
            await real.pause(self._step_s if verdict.ok else _REFUSED_PAUSE_S)

    async def _watch(self, stopping: asyncio.Event) -> None:
        """Ask about the dead, again and again; and for the keys, from time to time."""
        while not stopping.is_set():
            if self._random.random() < 0.05:
                await self.recorder.jwks(self.ring)
            if self._dead:
                await self.recorder.verify(
                    self._random.choice(self.verifiers), self._random.choice(self._dead)
                )
            await real.pause(self._step_s)

    def _last(self, presented: Grant) -> Call:
        calls = reversed(self.recorder.history.calls)
        return next(call for call in calls if call.presented == presented.refresh)
