"""Run by `test_protobuf_matrix.py` in a process of its own: uses the stubs and prints what it saw as JSON."""

import hashlib
import inspect
import json
import sys
from concurrent.futures import ThreadPoolExecutor

import google.protobuf
from google.protobuf.message import Message

import authapi.v1 as api

MESSAGES_IMPORTED_GRPC = "grpc" in sys.modules

_SCALARS = {"string": "wx", "bytes": b"\x01\xff", "bool": True, "int32": -7, "int64": 1_700_000_000}


def fill(message: Message, depth: int = 3) -> Message:
    """Set every field of a message, of a oneof the last, to something that is not its default."""
    descriptor = message.DESCRIPTOR
    for field in descriptor.fields:
        # Exactly one of the two spellings exists in each of the versions at hand.
        repeated = field.is_repeated if hasattr(field, "is_repeated") else field.label == field.LABEL_REPEATED
        if field.message_type is not None:
            if depth:
                target = getattr(message, field.name)
                fill(target.add() if repeated else target, depth - 1)
                if not repeated:
                    target.SetInParent()
            continue
        kind = {
            v: k.removeprefix("TYPE_").lower() for k, v in vars(type(field)).items() if k.startswith("TYPE_")
        }
        value = 1 if field.enum_type is not None else _SCALARS[kind[field.type]]
        if repeated:
            getattr(message, field.name).extend([value, value])
        else:
            setattr(message, field.name, value)
    return message


def round_trip() -> str:
    """Return the digest of every message of the contract, filled and written; each reads back as it was."""
    digest = hashlib.sha256()
    for name in api.__all__:
        kind = getattr(api, name) if not name.endswith(("Stub", "Servicer", "_to_server")) else None
        if inspect.isclass(kind) and issubclass(kind, Message):
            message = fill(kind())
            written = message.SerializeToString(deterministic=True)
            assert bool(written) == bool(message.DESCRIPTOR.fields), name
            assert message == kind.FromString(written), name
            digest.update(name.encode() + written)
    return digest.hexdigest()


def call() -> str:
    """Return the issuer that a server made of the generated servicer told the generated stub."""
    import grpc

    class Keys(api.KeyServiceServicer):
        def GetJwks(  # noqa: N802 -- the name of the RPC
            self, request: api.GetJwksRequest, context: grpc.ServicerContext
        ) -> api.GetJwksResponse:
            return api.GetJwksResponse(issuer="authsvc")

    server = grpc.server(ThreadPoolExecutor(1))
    api.add_KeyServiceServicer_to_server(Keys(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        answer = api.KeyServiceStub(channel).GetJwks(api.GetJwksRequest(), timeout=20)
    server.stop(None).wait()
    return answer.issuer


if __name__ == "__main__":
    seen = {
        "protobuf": google.protobuf.__version__,
        "messages_imported_grpc": MESSAGES_IMPORTED_GRPC,
        "bytes": round_trip(),
        "answer": call(),
    }
    sys.stdout.write(json.dumps(seen))
