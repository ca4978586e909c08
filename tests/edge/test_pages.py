"""The public documents: key set, OpenAPI, its page, health."""

import asyncio
import re
from datetime import timedelta

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from authapi.v1 import GetJwksResponse
from authsvc.edge.app import METHODS
from authsvc.status import BY_REASON
from tests.edge.peer import Fault
from tests.edge.wire import World

JWKS = "/.well-known/jwks.json"


def _keys(text: str, seconds: int = 300) -> GetJwksResponse:
    return GetJwksResponse(jwks_json=text, max_age=Duration(seconds=seconds))


async def test_the_key_set_is_asked_for_once_a_second(world: World) -> None:
    """However many ask; Cache-Control says what is left of the server's max_age, and a change is there a second later."""
    world.peer.answers["GetJwks"] = _keys('{"keys":[1]}')
    answers = await asyncio.gather(*(world.get(JWKS) for _ in range(20)))
    assert {(a.status, a.body, a.headers["Cache-Control"]) for a in answers} == {
        (200, b'{"keys":[1]}', "public, max-age=300")
    }
    world.clock.advance(timedelta(seconds=0.5))
    world.peer.answers["GetJwks"] = _keys('{"keys":[2]}', seconds=60)
    late = await world.get(JWKS)
    assert (late.json, late.headers["Cache-Control"]) == ({"keys": [1]}, "public, max-age=299")
    assert len(world.peer.seen) == 1
    world.clock.advance(timedelta(seconds=0.5))
    changed = await world.get(JWKS)
    assert (changed.json, changed.headers["Cache-Control"]) == ({"keys": [2]}, "public, max-age=60")
    assert changed.headers["ETag"] != late.headers["ETag"]


async def test_a_key_set_that_did_not_change_is_304(world: World) -> None:
    """The ETag is of the content: the same after the server was asked again, another after a withdrawal."""
    world.peer.answers["GetJwks"] = _keys('{"keys":[1]}')
    etag = (await world.get(JWKS)).headers["ETag"]
    world.clock.advance(timedelta(seconds=2))
    same = await world.get(JWKS, headers={"If-None-Match": f'"other", W/{etag}'})
    assert (same.status, same.body, same.headers["ETag"]) == (304, b"", etag)
    assert same.headers["Cache-Control"] == "public, max-age=300"
    world.peer.answers["GetJwks"] = _keys('{"keys":[]}')
    world.clock.advance(timedelta(seconds=1))
    other = await world.get(JWKS, headers={"If-None-Match": etag})
    assert (other.status, other.body) == (200, b'{"keys":[]}')


async def test_the_last_known_good_key_set_outlives_the_server(world: World) -> None:
    """A server that is away costs nobody the keys; it is asked again after a second, not with every request."""
    first = await world.get(JWKS)
    world.peer.answers["GetJwks"] = Fault(grpc.StatusCode.UNAVAILABLE)
    world.clock.advance(timedelta(hours=1))
    for _ in range(5):
        answer = await world.get(JWKS)
        assert (answer.status, answer.body, answer.headers["Cache-Control"]) == (
            200,
            first.body,
            "public, max-age=1",
        )
    assert len(world.peer.seen) == 2
    del world.peer.answers["GetJwks"]
    world.clock.advance(timedelta(seconds=1))
    assert (await world.get(JWKS)).headers["Cache-Control"] == "public, max-age=300"


async def test_without_any_key_set_the_answer_is_503(world: World) -> None:
    """An empty key set is never invented."""
    world.peer.answers["GetJwks"] = Fault(grpc.StatusCode.UNAVAILABLE)
    for _ in range(2):
        answer = await world.get(JWKS)
        assert (answer.status, answer.error["reason"]) == (503, "STORE_UNAVAILABLE")
    assert len(world.peer.seen) == 1


@pytest.mark.parametrize("path", [JWKS, "/openapi.json", "/docs", "/docs/docs.js"])
async def test_an_unchanged_document_is_not_sent_twice(world: World, path: str) -> None:
    """If-None-Match with the ETag, weak, in a list, or `*`, is 304 without a body."""
    etag = (await world.get(path)).headers["ETag"]
    for condition in (etag, f"W/{etag}", f'"x", {etag}', "*"):
        answer = await world.get(path, headers={"If-None-Match": condition})
        assert (answer.status, answer.body, answer.headers["ETag"]) == (304, b"", etag)
    assert (await world.get(path, headers={"If-None-Match": '"other"'})).status == 200


async def test_the_document_and_the_routes_name_the_same_operations(world: World) -> None:
    """Every path and method that is served is described, and nothing else."""
    document = (await world.get("/openapi.json")).json
    described = {path: {method.upper() for method in item} for path, item in document["paths"].items()}
    assert described == {path: set(methods) for path, methods in world.app[METHODS].items()}
    operations = [op["operationId"] for item in document["paths"].values() for op in item.values()]
    assert len(operations) == len(set(operations))


async def test_the_document_is_whole(world: World) -> None:
    """References resolve, every description has both languages, every example has the statuses of the table."""
    text = (await world.get("/openapi.json")).body.decode()
    document = (await world.get("/openapi.json")).json
    assert document["openapi"].startswith("3.1")
    for name in re.findall(r'"#/components/schemas/(\w+)"', text):
        assert name in document["components"]["schemas"]
    for item in document["paths"].values():
        for operation in item.values():
            assert re.search(r".+ / .*[\u4e00-\u9fff]", operation["summary"])
            for status, response in operation["responses"].items():
                for content in response.get("content", {}).values():
                    for reason in content.get("examples", {}):
                        assert int(status) in {BY_REASON[reason].http, 408, 413}
    known = document["components"]["schemas"]["Error"]["properties"]["error"]["properties"]["reason"]
    assert set(known["x-known-values"]) == set(BY_REASON)


async def test_a_real_reply_has_the_described_fields(world: World) -> None:
    """What the schemas require is in the replies, and the replies hold nothing that is not described."""
    schemas = (await world.get("/openapi.json")).json["components"]["schemas"]
    bearer = {"Authorization": "Bearer t"}
    session = (await world.get("/api/v1/session", headers=bearer)).json
    replies = {
        "LoginResponse": (await world.post("/api/v1/login", {"code": "c"})).json,
        "RefreshResponse": (await world.post("/api/v1/refresh", {"refresh_token": "r"})).json,
        "LogoutResponse": (await world.post("/api/v1/logout", {"refresh_token": "r"})).json,
        "PhoneResponse": (await world.post("/api/v1/phone", {"code": "c"}, headers=bearer)).json,
        "DecryptResponse": (
            await world.post("/api/v1/user-data/decrypt", {"encrypted_data": "e", "iv": "i"}, headers=bearer)
        ).json,
        "Session": session["session"],
        "Claims": session["claims"],
        "Error": (await world.get("/nowhere")).json,
    }
    for name, content in replies.items():
        assert set(schemas[name]["required"]) <= set(content) <= set(schemas[name]["properties"]), name


async def test_the_page_needs_nothing_from_anywhere_else(world: World) -> None:
    """A strict policy, no inline code, no address of another site in any asset."""
    page = await world.get("/docs")
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assets = re.findall(r'(?:src|href)="([^"]+)"', page.body.decode())
    assert {"/docs/docs.css", "/docs/docs.js", "/openapi.json"} == set(assets)
    for path in assets:
        answer = await world.get(path)
        assert answer.status == 200
        assert b"://" not in answer.body
    assert not re.search(r"<style|<script>|\son\w+=|style=", page.body.decode())
    assert "innerHTML" not in (await world.get("/docs/docs.js")).body.decode()


async def test_health_is_the_process_and_readiness_the_server(world: World) -> None:
    """/healthz asks nobody; /readyz follows the server's own health, and its absence."""
    assert (await world.get("/healthz")).json == {"status": "ok"}
    assert (await world.get("/readyz")).status == 200
    await world.peer.serving(False)
    answer = await world.get("/readyz")
    assert (answer.status, answer.error["reason"]) == (503, "STORE_UNAVAILABLE")
    await world.peer.serving(True)
    assert (await world.get("/readyz")).status == 200
    await world.peer.stop()
    assert (await world.get("/readyz")).status == 503
    assert (await world.get("/healthz")).status == 200
