"""WeChat's side of the calls with an access_token, on a real socket: answers by path, as a test scripts them."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

from authsvc.ports import NewSessionKey, PhoneNumber
from authsvc.wechat import WeChatApp, WeChatSettings
from tests.wechat.wire import APP_ID, OPENID, Peer, Rig, Visit, app_at, serving, started

TOKEN = "/cgi-bin/stable_token"
PHONE = "/wxa/business/getuserphonenumber"
CHECK = "/wxa/checksession"
RESET = "/wxa/resetusersessionkey"
LOGIN = "/sns/jscode2session"
PHONE_CODE = "canaryphonecodecanaryphonecodecanaryphonecodecanaryphonecode0000"
USER_KEY = "o0q0otL8aEzpcZL/FT9WsQ=="
NEW_KEY = "bmV3a2V5bmV3a2V5bmV3aw=="
NUMBER = "+85261234567"
OTHER_ID = "wx00000000000000e2"

Answer = dict[str, Any]
Script = Callable[[Visit], Answer | Awaitable[Answer | None]]
"""An answer to send; or one that is awaited, where None says that the script did with the wire what it wanted."""


def phone_info(app_id: str = APP_ID, **changes: object) -> Answer:
    """A good answer of getuserphonenumber."""
    info = {
        "phoneNumber": NUMBER,
        "purePhoneNumber": "61234567",
        "countryCode": "852",
        "watermark": {"timestamp": 1767225600, "appid": app_id},
    }
    return {"errcode": 0, "errmsg": "ok", "phone_info": {**info, **changes}}


@dataclass(slots=True)
class Platform:
    """Grants numbered tokens and good answers, except where `scripts` has something else for a path."""

    peer: Peer = field(init=False)
    scripts: dict[str, Script] = field(default_factory=dict)
    lifetime: object = 7200
    granted: int = 0

    @property
    def url(self) -> str:
        """Its origin."""
        return self.peer.url

    def visits(self, path: str) -> list[Visit]:
        """The requests that came for *path*, in order."""
        return [visit for visit in self.peer.visits if visit.path == path]

    def count(self, path: str) -> int:
        """How many requests came for *path*."""
        return len(self.visits(path))

    def answer_in_turn(self, path: str, *answers: Answer) -> None:
        """Answer the requests for *path* one after the other, the last one for ever."""
        left = list(answers)
        self.scripts[path] = lambda _visit: left.pop(0) if len(left) > 1 else left[0]

    def tokens_used(self, path: str) -> list[str]:
        """The access_tokens that came with the requests for *path*."""
        return [visit.query.get("access_token", "") for visit in self.visits(path)]

    async def behave(self, visit: Visit) -> None:
        """Answer one request."""
        script = self.scripts.get(visit.path)
        answer = self._usual(visit) if script is None else script(visit)
        if not isinstance(answer, dict):
            awaited = await answer
            if awaited is None:
                return
            answer = awaited
        await visit.answer(json.dumps(answer).encode(), content_type="application/json")

    def grant(self) -> Answer:
        """The next token."""
        self.granted += 1
        return {"access_token": f"{self.granted}_canarytoken", "expires_in": self.lifetime}

    def _usual(self, visit: Visit) -> Answer:
        match visit.path:
            case "/cgi-bin/stable_token":
                return self.grant()
            case "/wxa/business/getuserphonenumber":
                return phone_info()
            case "/wxa/checksession":
                return {"errcode": 0, "errmsg": "ok"}
            case "/wxa/resetusersessionkey":
                return {"errcode": 0, "errmsg": "ok", "openid": OPENID, "session_key": NEW_KEY}
            case _:
                return {"openid": OPENID, "session_key": USER_KEY}


def refusing(errcode: int) -> Script:
    """The script that always answers this number."""
    return lambda _visit: {"errcode": errcode, "errmsg": "refused rid: 67f5d2f4-0a1b2c3d-4e5f6071"}


async def dropping(visit: Visit) -> None:
    """The script that takes a request and closes the connection."""
    visit.drop()


async def hanging(_visit: Visit) -> None:
    """The script that never answers."""
    await asyncio.Event().wait()


@contextlib.asynccontextmanager
async def platform() -> AsyncIterator[Platform]:
    """A platform that listens."""
    stage = Platform()
    async with serving(stage.behave) as peer:
        stage.peer = peer
        yield stage


@contextlib.asynccontextmanager
async def connected(
    change: Callable[[WeChatApp], WeChatApp] = lambda app: app, *, settings: WeChatSettings | None = None
) -> AsyncIterator[tuple[Platform, Rig]]:
    """A platform and a client whose usual app is on it; *change* has the last word on the app."""
    async with platform() as stage, started(change(app_on(stage)), settings=settings) as rig:
        yield stage, rig


def app_on(stage: Platform, app_id: str = APP_ID) -> WeChatApp:
    """An app of endless patience, with room for everybody."""
    return replace(app_at(stage.url), app_id=app_id, max_concurrency=2000)


async def phone(rig: Rig, *, app_id: str = APP_ID, code: str = PHONE_CODE) -> PhoneNumber:
    """Ask for the usual user's phone number."""
    return await rig.client.phone_number(app_id=app_id, openid=OPENID, code=code)


async def check(rig: Rig, *, app_id: str = APP_ID) -> bool:
    """Check the usual user's key."""
    return await rig.client.check_session_key(app_id=app_id, openid=OPENID, session_key=USER_KEY)


async def reset(rig: Rig) -> NewSessionKey:
    """Reset the usual user's key."""
    return await rig.client.reset_session_key(app_id=APP_ID, openid=OPENID, session_key=USER_KEY)
