"""Strings made to break SQL, in every text field of every RPC: they stay text, and nobody else notices."""

from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path
from sqlite3 import connect

import grpc.aio
import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from authapi.v1 import auth_service_pb2 as pb
from authapi.v1 import types_pb2
from authapi.v1.session_service_pb2 import ListSessionsRequest
from tests.rpc.matrix import Values, cases, filled
from tests.support.core import D1, D2, Core, build_core
from tests.support.server import Running, running_server

SQL = (
    "x'; DROP TABLE sessions; --",
    '" OR 1=1 /*',
    "%_\\';\nUPDATE users SET state='blocked' WHERE 'a' LIKE '%",
)
OURS = {"INTERNAL", "UNKNOWN", "DATA_LOSS", "UNIMPLEMENTED"}


def text_fields(kind: Descriptor, before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The way to every text field below this kind of message."""
    for field in kind.fields:
        if field.message_type is not None and field.message_type.full_name.startswith("authapi.v1."):
            yield from text_fields(field.message_type, (*before, field.name))
        elif field.type == FieldDescriptor.TYPE_STRING:
            yield (*before, field.name)


def put(message: Message, way: tuple[str, ...], text: str) -> bool:
    """Set the field; False where the request's case has no such message."""
    for name in way[:-1]:
        inner = getattr(message, name)
        if message.DESCRIPTOR.fields_by_name[name].is_repeated:
            if not len(inner):
                return False
            message = inner[0]
        elif not message.HasField(name):
            return False
        else:
            message = inner
    field = message.DESCRIPTOR.fields_by_name[way[-1]]
    if field.is_repeated:
        getattr(message, way[-1]).append(text)
    elif field.containing_oneof is not None and not message.HasField(way[-1]):
        return False
    else:
        setattr(message, way[-1], text)
    return True


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    async with build_core(tmp_path) as core, running_server(core) as served:
        yield served


def rows(core: Core) -> dict[str, int]:
    """How many rows each table has."""
    with closing(connect(core.path)) as connection:
        names = [
            name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        ]
        return {
            name: connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0]  # noqa: S608 - the schema's own
            for name in names
        }


async def outcome(running: Running, path: str, request: Message) -> str:
    """`OK` or the canonical code."""
    try:
        if path.endswith("WatchRevocations"):
            return "OK"  # has no text
        await running.raw(path, request.SerializeToString())
    except grpc.aio.AioRpcError as error:
        return error.code().name
    return "OK"


async def test_sql_in_every_text_field_of_every_rpc(running: Running) -> None:
    """
    One hostile field at a time, all others good: never a failure of ours, no table gone, a bystander still logged in.
    """
    core = running.core
    bystander = await core.login("bystander", app_id=D2)
    before, tried, odd = rows(core), 0, []
    for path, name, case, kind in cases():
        for way in text_fields(kind):
            login = await core.login(f"victim-{path}-{case and case.name}-{way}")
            known = {
                "access_token": login.tokens.access_token,
                "refresh_token": login.tokens.refresh_token,
                "user_id": login.opened.session.user_id,
                "session_id": login.opened.session.session_id,
                "app_id": D1,
                "openid": login.openid,
            }
            values: Values = {name: (lambda text=text: text) for name, text in known.items()}  # type: ignore[misc]
            for text in SQL:
                request = filled(kind, case, values)
                if not put(request, way, text):
                    break
                tried += 1
                code = await outcome(running, path, request)
                if code in OURS:
                    odd.append((name, way, text, code))
    assert odd == []
    assert tried > 200
    after = rows(core)
    assert after.keys() == before.keys()
    assert all(after[table] >= before[table] for table in ("users", "sessions", "identities", "audit"))
    verdict = await running.auth.VerifyToken(
        pb.VerifyTokenRequest(access_token=bystander.tokens.access_token, audience=D2)
    )
    assert verdict.WhichOneof("outcome") == "active"


@pytest.mark.parametrize("text", SQL)
async def test_what_is_kept_is_kept_to_the_letter(running: Running, text: str) -> None:
    """Device name and user agent of a login come back as they were sent, and name no other session."""
    client = types_pb2.ClientInfo(device_id=text, device_name=text, user_agent=text)
    code = running.core.code("letters")
    request = pb.LoginRequest(app_id=D1, mini_program_code=code, client=client)
    login = await running.auth.Login(request)
    listed = await running.sessions.ListSessions(ListSessionsRequest(user_id=login.user_id))
    (session,) = listed.sessions
    assert (session.client.device_id, session.client.device_name, session.client.user_agent) == (text,) * 3
