"""What fuzz inputs are thrown at; each target counts its inputs and raises where a promise is broken."""

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import Awaitable, Mapping
from typing import Any

import grpc

from authsvc.domain import access_token, legacy_token, refresh_token, service_keys
from authsvc.domain.cursors import Cursor, open_cursor, seal_cursor
from authsvc.domain.ids import encode_id
from authsvc.domain.page_tokens import open_page_token, seal_page_token
from authsvc.rpc.convert import Cursors
from authsvc.rpc.wrapper import ServerStream, Unary, Wrapper
from authsvc.wechat.api_replies import (
    new_key_reader,
    phone_reader,
    read_confirmation,
    read_kept_token,
    read_printed_token,
    read_stable_token,
)
from authsvc.wechat.replies import read_reply, read_session
from authsvc_client import tokens as client_tokens
from authsvc_client.signatures import UnreadableKeys, read_key_set
from tests.hardening.fuzzing import Dice, Messages, random_json
from tests.hardening.judges import Bench
from tests.hardening.keyring import encode, to_json
from tests.support import legacy
from tests.support.core import D1, D2, ISSUER
from tests.support.server import MetadataAuthenticator, services_of

# A status with either of these is a defect of ours.
_OUR_FAULT = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN}


class Parsers:
    """Everything that reads a token's text, here and in the client."""

    def __init__(self, bench: Bench) -> None:
        self.counts: Counter[str] = Counter()
        core, now = bench.core, bench.core.clock.now()
        self._rings = core.rings
        self._headers = core.keys.headers
        self._client_headers = bench.client_keys.known_headers
        line = refresh_token.first_token(
            bytes(16), nonce=bytes(16), key_id=self._rings.refresh_mac.current_id
        )
        es256 = bench.keyring.ours["ES256"]
        self._header, self._payload = es256.header(), bench.payload()
        self._signature = encode(bytes(64))
        texts = [
            *(key.token(bench.payload()) for key in bench.keyring.ours.values()),
            refresh_token.spell(line, ring=self._rings.refresh_mac),
            service_keys.make_key(encode_id(bytes(16)), bytes(32)),
            encode(seal_cursor(Cursor(bytes(8), 7), ring=self._rings.cursor)),
            seal_page_token((now, encode_id(bytes(16))), filters=(), ring=self._rings.cursor),
            legacy.mint(legacy.said("o", now=now)),
            core.keys.jwks_json,
        ]
        self.texts = texts
        self._bases = [text.encode() for text in texts]
        self._names = [*self._payload, *self._header, "jku", "x5u", "jwk", "crit", "openid", "prev", "keys"]
        self._values: list[object] = [*self._payload.values(), *self._header.values()]

    def try_one(self, dice: Dice) -> None:
        """One text, to all of them."""
        match dice.below(4):
            case 0:
                text = self._token(random_json(dice, self._names, self._values), to_json(self._payload))
            case 1:
                text = self._token(to_json(self._header), random_json(dice, self._names, self._values))
            case 2:
                changed = {**self._payload, dice.pick(self._names): dice.json(self._names, self._values)}
                text = self._token(to_json(self._header), to_json(changed))
            case _:
                text = dice.edited(dice.pick(self._bases)).decode("utf-8", "surrogateescape")
        self.counts["token"] += 1
        self._read(text)

    def _token(self, header: bytes, payload: bytes) -> str:
        return f"{encode(header)}.{encode(payload)}.{self._signature}"

    def _read(self, text: str) -> None:
        ours = access_token.parse(text, known_headers=self._headers)
        theirs = None
        if text.isascii():
            theirs = client_tokens.parse(text.encode(), self._client_headers)
        assert (ours is None) == (theirs is None), text
        if ours is not None and theirs is not None:
            assert ours.signature == theirs.signature
            assert ours.claims.user_id == theirs.claims.user_id
        legacy_token.split(text)
        refresh_token.parse(text, ring=self._rings.refresh_mac)
        service_keys.parse_key(text)
        open_page_token(text, filters=(), ring=self._rings.cursor)
        open_cursor(text.encode("utf-8", "surrogateescape"), ring=self._rings.cursor)
        with contextlib.suppress(UnreadableKeys):
            read_key_set(text, issuer=ISSUER, max_lifetime_s=1)


class WeChatAnswers:
    """Everything that reads what WeChat, or a token server in its place, answers."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        phone = {
            "phone_info": {
                "phoneNumber": "+8613800138000",
                "purePhoneNumber": "13800138000",
                "countryCode": "86",
                "watermark": {"appid": D1, "timestamp": 1},
            }
        }
        answers: list[Mapping[str, Any]] = [
            {"openid": "o", "session_key": "k", "unionid": "u", "errcode": 0, "errmsg": "ok"},
            {"errcode": 40029, "errmsg": "invalid code, rid: 67f5d2f4-0a1b2c3d-4e5f6071"},
            {"access_token": "t", "expires_in": 7200},
            phone,
        ]
        self._bases = [json.dumps(answer).encode() for answer in answers]
        self._names = [*(name for answer in answers for name in answer), *phone["phone_info"]]
        self._values: list[object] = [*(v for a in answers for v in a.values()), D1, "86", "-1", "40029"]
        self._readers = (
            read_session, read_stable_token, read_kept_token, phone_reader(D1), read_confirmation, new_key_reader("o"),
        )  # fmt: skip

    def try_one(self, dice: Dice) -> None:
        """One body, to all of them."""
        body = (
            dice.edited(dice.pick(self._bases))
            if dice.below(2)
            else random_json(dice, self._names, self._values)
        )
        self.counts["wechat"] += 1
        for reader in self._readers:
            read_reply(body, reader)
        read_printed_token(body)


class Context:
    """What a handler sees of gRPC: some metadata, and a way to refuse."""

    def __init__(self, metadata: tuple[tuple[str, str], ...]) -> None:
        self._metadata = metadata
        self.code = grpc.StatusCode.OK

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return self._metadata

    def auth_context(self) -> dict[str, Any]:
        return {}

    def peer(self) -> str:
        return "ipv4:127.0.0.1:1"

    async def abort(self, code: grpc.StatusCode, details: str = "", trailing_metadata: object = ()) -> None:
        del details, trailing_metadata
        self.code = code
        raise Aborted


class Aborted(Exception):
    """What gRPC raises to unwind a handler."""


class Rpcs:
    """Every RPC of the contract, through the real wrapper and everything behind it."""

    def __init__(self, bench: Bench, parsers: Parsers) -> None:
        core = bench.core
        self.counts: Counter[str] = Counter()
        self.codes: Counter[str] = Counter()
        self._core = core
        wrapper = Wrapper(
            authenticator=MetadataAuthenticator(core.audiences),
            admission=core.admission,
            clock=core.clock,
            entropy=core.entropy,
            observer=core.observer,
        )
        self._methods: list[tuple[str, type[Any], Any, bool]] = []
        for name, methods in services_of(core, Cursors(core.rings.cursor)).items():
            for method, what in methods.items():
                handler = wrapper._handler(f"/{name}/{method}", what)
                streams = isinstance(what, ServerStream)
                assert streams or isinstance(what, Unary)
                call = handler.unary_stream if streams else handler.unary_unary
                self._methods.append((method, what.request, call, streams))
        texts = [
            *parsers.texts, "", D1, D2, "o-alice", encode_id(bytes(16)), "\0", "phone", "x" * 600, "42", "profile",
            "=", "abc.def.ghi", "中文 😀", "../..", "' OR 1=1 --",
        ]  # fmt: skip
        raws = [b"", bytes(16), seal_cursor(Cursor(bytes(8), 1), ring=core.rings.cursor), b"\xff" * 40]
        self._messages = Messages(texts, raws)

    def know(self, *texts: str) -> None:
        """Have these among the texts that requests are filled with."""
        self._messages._texts = [*self._messages._texts, *texts]

    async def try_one(self, dice: Dice) -> None:
        """One request, to one of them."""
        method, kind, handler, streams = dice.pick(self._methods)
        raw = self._messages.bytes_of(dice, kind)
        metadata = (
            ("x-request-id", dice.edited(b"request").decode("latin-1")),
            ("traceparent", dice.edited(b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01").decode("latin-1")),
        )
        context = Context(metadata)
        self.counts[method] += 1
        try:
            if streams:
                await _first_of(handler(raw, context))
            else:
                assert isinstance(await handler(raw, context), bytes)
        except Aborted:
            pass
        self.codes[context.code.name] += 1
        assert context.code not in _OUR_FAULT, (method, raw, self._core.observer.calls[-1])
        self._core.observer.calls.clear()
        self._core.observer.events.clear()


async def _first_of(messages: Any) -> None:
    """Two messages of a stream at most; the rest would come with time, which stands still here."""
    stream = messages.__aiter__()
    try:
        for _ in range(2):
            pending: Awaitable[bytes] = stream.__anext__()
            task = asyncio.ensure_future(pending)
            done, _ = await asyncio.wait({task}, timeout=0.05)
            if not done:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                return
            if task.exception() is not None:
                if isinstance(task.exception(), StopAsyncIteration):
                    return
                task.result()
    finally:
        await stream.aclose()
