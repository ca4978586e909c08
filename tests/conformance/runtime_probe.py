"""
Run by `test_runtimes.py` under one pair of grpcio and protobuf, in a process of its own without our environment.

`write FOLDER` writes every message of the contract, filled; `read FOLDER` compares what another runtime wrote with what
this one would; `call TARGET AUDIENCE TOKEN` calls a live service through the stubs and verifies the token locally.
Prints what it saw as JSON.
"""

import asyncio
import inspect
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import google.protobuf
import grpc
from google.protobuf.message import Message

import authapi.v1 as api
from authsvc_client import Active, SyncVerifier, Verifier
from tests.contract.protobuf_probe import fill


def filled() -> Iterator[tuple[str, Message]]:
    """Every message of the contract with every field set."""
    for name in api.__all__:
        kind = getattr(api, name)
        if inspect.isclass(kind) and issubclass(kind, Message):
            yield name, fill(kind())


def write(folder: Path) -> dict[str, object]:
    names = []
    for name, message in filled():
        (folder / name).write_bytes(message.SerializeToString(deterministic=True))
        names.append(name)
    return {"written": len(names)}


def read(folder: Path) -> dict[str, object]:
    differing = []
    for name, message in filled():
        written = (folder / name).read_bytes()
        parsed = type(message).FromString(written)
        if parsed != message or parsed.SerializeToString(deterministic=True) != written:
            differing.append(name)
    return {"differing": differing}


async def verify(target: str, audience: str, token: str) -> str:
    async with Verifier(target, audience=audience) as verifier:
        verdict = await verifier.verify(token)
        return verdict.session_id if isinstance(verdict, Active) else verdict.reason.name


def call(target: str, audience: str, token: str) -> dict[str, object]:
    request = api.VerifyTokenRequest(access_token=token, audience=audience)
    with grpc.insecure_channel(target) as channel:
        answer = api.AuthServiceStub(channel).VerifyToken(request, timeout=20)
    with SyncVerifier(target, audience=audience) as verifier:
        verdict = verifier.verify(token)
        sync = verdict.session_id if isinstance(verdict, Active) else verdict.reason.name
    return {
        "remote": answer.active.session_id,
        "sync": sync,
        "async": asyncio.run(verify(target, audience, token)),
    }


if __name__ == "__main__":
    verb, *rest = sys.argv[1:]
    seen = call(*rest) if verb == "call" else {"write": write, "read": read}[verb](Path(rest[0]))
    versions: dict[str, object] = {"protobuf": google.protobuf.__version__, "grpcio": grpc.__version__}
    sys.stdout.write(json.dumps(versions | seen))
