"""`DELETE /api/v1/account`: a fresh code, sent once, and nothing else says who is erased."""

import grpc
import pytest

from tests.edge.peer import APP, Fault, refusal
from tests.edge.wire import World

ACCOUNT = "/api/v1/account"
BODY = {"app_id": APP, "code": "fresh"}


async def test_the_code_names_the_person(world: World) -> None:
    """A token and an id in the request are not read."""
    body = {**BODY, "user_id": "somebody"}
    answer = await world.ask("DELETE", ACCOUNT, json=body, headers={"Authorization": "Bearer a.b.c"})
    assert (answer.status, answer.json) == (200, {"ended_sessions": 2})
    [request] = world.peer.requests("EraseUser")
    assert (request.WhichOneof("subject"), request.code.app_id, request.code.code) == ("code", APP, "fresh")


async def test_without_a_code_nobody_is_asked(world: World) -> None:
    """400, and the server hears nothing."""
    answer = await world.ask("DELETE", ACCOUNT, json={"app_id": APP})
    assert (answer.status, answer.error["reason"]) == (400, "INVALID_FIELD")
    assert world.peer.seen == []


@pytest.mark.parametrize(
    ("told", "status", "reason"),
    [
        (refusal("NOT_FOUND", metadata={"what": "user"}), 404, "NOT_FOUND"),
        (refusal("USER_BLOCKED"), 403, "USER_BLOCKED"),
        (refusal("LOGIN_CODE_SPENT"), 409, "LOGIN_CODE_SPENT"),
        (Fault(grpc.StatusCode.UNAVAILABLE), 409, "LOGIN_CODE_SPENT"),
    ],
)
async def test_refusals_are_those_of_a_login(world: World, told: Fault, status: int, reason: str) -> None:
    """A code that may have been used up is told so, whoever made the error; it is not sent a second time."""
    world.peer.answers["EraseUser"] = told
    answer = await world.ask("DELETE", ACCOUNT, json=BODY)
    assert (answer.status, answer.error["reason"]) == (status, reason)
    assert len(world.peer.requests("EraseUser")) == 1


async def test_other_methods_are_refused(world: World) -> None:
    """405 says which one there is."""
    answer = await world.post(ACCOUNT, BODY)
    assert (answer.status, answer.headers["Allow"]) == (405, "DELETE")
