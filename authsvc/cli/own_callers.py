"""Callers that a process makes for itself: its own edge, and the operator of a development machine."""

import contextlib
import os
from pathlib import Path

import click

from authsvc.cli.calling import OPERATOR_KEY_FILE
from authsvc.domain.ids import ID_BYTES, encode_id
from authsvc.domain.principals import Declared, Role
from authsvc.domain.service_keys import SECRET_BYTES, KeyRecord, hash_secret, make_key, parse_key
from authsvc.ports import Entropy
from authsvc.system import process_id

_EDGE, _DEV_EDGE, _DEV_OPERATOR = "local-edge", "dev-edge", "dev-operator"


def new_key(principal: str, *, entropy: Entropy) -> tuple[str, KeyRecord]:
    """Return a new key's text, which is nowhere else, and what is kept of it."""
    key_id, secret = encode_id(entropy.token_bytes(ID_BYTES)), entropy.token_bytes(SECRET_BYTES)
    return make_key(key_id, secret), KeyRecord(key_id, principal, hash_secret(secret))


def new_edge(*, entropy: Entropy) -> tuple[str, str]:
    """Return the key of an edge that is supervised together with its servers, and the word that tells them of it."""
    text, record = new_key(_EDGE, entropy=entropy)
    return text, f"{record.key_id}:{record.secret_hash.hex()}"


def supervised_edge(word: str) -> tuple[Declared, ...]:
    """Return the edge of `new_edge` by its word, nobody for an empty one."""
    if not word:
        return ()
    key_id, _, digest = word.partition(":")
    return (_declared(_EDGE, Role.EDGE, KeyRecord(key_id, _EDGE, bytes.fromhex(digest))),)


def development_callers(directory: Path, *, entropy: Entropy) -> tuple[str, tuple[Declared, ...]]:
    """
    Return the key of a development's own edge, and who calls it: that edge, and the operator.

    The operator's key is made on the first start in *directory* (0600) and stays.

    Raises:
        click.ClickException: the file cannot be written or read, or holds something else.

    """
    edge, edge_record = new_key(_DEV_EDGE, entropy=entropy)
    path = directory / OPERATOR_KEY_FILE
    try:
        if not path.exists():
            _write_new(path, new_key(_DEV_OPERATOR, entropy=entropy)[0] + "\n")
        operator = parse_key(path.read_text(encoding="ascii").strip())
    except UnicodeDecodeError:
        operator = None
    except OSError as error:
        raise click.ClickException(f"{path}: {error.strerror}") from None
    if operator is None:
        raise click.ClickException(f"{path}: is no service key; remove it to have another one made")
    operator_record = KeyRecord(operator.key_id, _DEV_OPERATOR, operator.secret_hash)
    return edge, (
        _declared(_DEV_EDGE, Role.EDGE, edge_record),
        _declared(_DEV_OPERATOR, Role.OPERATOR, operator_record),
    )


def _declared(name: str, role: Role, record: KeyRecord) -> Declared:
    return Declared(name=name, roles=frozenset({role}), keys=(record,))


def _write_new(path: Path, text: str) -> None:
    """Make the file appear with all its text, unless somebody else has made it meanwhile; then theirs stays."""
    draft = path.with_name(f".{path.name}.{process_id()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(text)
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()
