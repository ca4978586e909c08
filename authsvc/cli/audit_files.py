"""The audit trail as lines of JSON: what `audit export` writes, `audit verify --file` reads, and log lines with checkpoints."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TextIO

from authsvc.domain.audit import AuditRow, Checkpoint, from_microseconds, microseconds
from authsvc.domain.audit_verification import KeptCheckpoint
from authsvc.ports import SigningKeyRecord

FORMAT = 1
_TEXTS = (
    "audit_id", "by", "event", "user_id", "app_id", "session_id", "request_id", "trace_id", "details", "ip", "reason",
)  # fmt: skip
# RFC 7638 section 3.2: the members that make a key, in the order of their names.
_MEMBERS = {"EC": ("crv", "kty", "x", "y"), "OKP": ("crv", "kty", "x"), "RSA": ("e", "kty", "n")}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Unreadable(ValueError):
    """A line is not what it should be; the text names the line, never what is in it."""


@dataclass(slots=True)
class TrailFile:
    """An exported trail: batches in the order of the file, each with the rows that follow it, then unsealed ones."""

    exported_at: datetime
    keys: list[SigningKeyRecord] = field(default_factory=list)
    withdrawn: dict[str, datetime] = field(default_factory=dict)
    batches: list[tuple[Checkpoint | None, list[AuditRow]]] = field(default_factory=list)
    unsealed: list[AuditRow] = field(default_factory=list)
    complete: bool = False


def write_head(
    file: TextIO,
    *,
    exported_at: datetime,
    keys: Sequence[SigningKeyRecord],
    withdrawn: Mapping[str, datetime],
) -> None:
    """Write the first line: when, and the public keys."""
    shown = [{**json.loads(key.public_jwk), "kid": key.kid, "alg": key.alg, "use": "sig"} for key in keys]
    _write(
        file,
        {
            "type": "trail",
            "format": FORMAT,
            "exported_at": microseconds(exported_at),
            "keys": shown,
            "withdrawn": {kid: microseconds(at) for kid, at in withdrawn.items()},
        },
    )


def write_batch(file: TextIO, checkpoint: Checkpoint | None, rows: Sequence[AuditRow]) -> None:
    """Write a batch and its rows; rows alone if it is None."""
    if checkpoint is not None:
        _write(
            file,
            {
                "type": "batch",
                "batch": checkpoint.batch,
                "sealed_at": microseconds(checkpoint.sealed_at),
                "rows": checkpoint.rows,
                "rows_hash": checkpoint.rows_hash.hex(),
                "chain_hash": checkpoint.chain_hash.hex(),
                "kid": checkpoint.kid,
                "signature": checkpoint.signature.hex(),
            },
        )
    for row in rows:
        _write(
            file,
            {
                "type": "row",
                **{name: getattr(row, name) for name in _TEXTS},
                "at": microseconds(row.at),
                "salt": None if row.salt is None else row.salt.hex(),
                "commitment": None if row.commitment is None else row.commitment.hex(),
                "batch": row.batch,
            },
        )


def write_end(file: TextIO, *, batches: int, rows: int) -> None:
    """Write the last line, without which the file is not whole."""
    _write(file, {"type": "end", "batches": batches, "rows": rows})


def read_trail(lines: Iterable[str]) -> TrailFile:
    """
    Return what `write_*` wrote.

    Raises:
        Unreadable: it is not such a file.

    """
    trail: TrailFile | None = None
    stray: dict[int, list[AuditRow]] = {}
    for number, line in enumerate(lines, start=1):
        try:
            fields = json.loads(line)
            kind = fields["type"]
            if trail is None:
                trail = _head(fields)
            elif kind == "batch":
                trail.batches.append((_checkpoint(fields), []))
            elif kind == "row":
                row = _row(fields)
                _file_row(trail, row, stray)
            elif kind == "end":
                counted = sum(len(rows) for _, rows in trail.batches) + len(trail.unsealed)
                counted += sum(len(rows) for rows in stray.values())
                batches = sum(checkpoint is not None for checkpoint, _ in trail.batches)
                trail.complete = (fields["batches"], fields["rows"]) == (batches, counted)
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
            raise Unreadable(f"line {number} is no line of an exported trail") from None
    if trail is None:
        raise Unreadable("the file is empty")
    trail.batches += [(None, rows) for _, rows in sorted(stray.items())]
    return trail


def _file_row(trail: TrailFile, row: AuditRow, stray: dict[int, list[AuditRow]]) -> None:
    if row.batch is None:
        trail.unsealed.append(row)
        return
    if trail.batches and (last := trail.batches[-1][0]) is not None and last.batch == row.batch:
        trail.batches[-1][1].append(row)
    else:
        stray.setdefault(row.batch, []).append(row)


def read_jwks(text: str) -> list[SigningKeyRecord]:
    """
    Return the keys of a JSON Web Key Set (RFC 7517 section 5).

    Raises:
        Unreadable: it is none.

    """
    try:
        return [_key(key) for key in json.loads(text)["keys"]]
    except (ValueError, KeyError, TypeError):
        raise Unreadable("is no JSON Web Key Set") from None


def read_checkpoints(lines: Iterable[str]) -> Iterator[KeptCheckpoint]:
    """Yield the checkpoints among log lines; other lines, of whatever form, are passed over."""
    for line in lines:
        if "audit.checkpoint" not in line:
            continue
        try:
            fields = json.loads(line)
            if fields["event"] == "audit.checkpoint":
                yield KeptCheckpoint(int(fields["batch"]), bytes.fromhex(fields["chain_hash"]))
        except (ValueError, KeyError, TypeError):
            continue


def _head(fields: Mapping[str, Any]) -> TrailFile:
    if fields["type"] != "trail" or fields["format"] != FORMAT:
        raise ValueError("another format")
    return TrailFile(
        exported_at=from_microseconds(fields["exported_at"]),
        keys=[_key(key) for key in fields["keys"]],
        withdrawn={kid: from_microseconds(at) for kid, at in fields["withdrawn"].items()},
    )


def _key(jwk: Mapping[str, str]) -> SigningKeyRecord:
    members = {name: jwk[name] for name in _MEMBERS[jwk["kty"]]}
    canonical = json.dumps(members, separators=(",", ":"))
    return SigningKeyRecord(
        kid=jwk["kid"], alg=jwk["alg"], public_jwk=canonical, state="retired", created_at=_EPOCH
    )


def _checkpoint(fields: Mapping[str, Any]) -> Checkpoint:
    return Checkpoint(
        batch=int(fields["batch"]),
        sealed_at=from_microseconds(fields["sealed_at"]),
        rows=int(fields["rows"]),
        rows_hash=bytes.fromhex(fields["rows_hash"]),
        chain_hash=bytes.fromhex(fields["chain_hash"]),
        kid=str(fields["kid"]),
        signature=bytes.fromhex(fields["signature"]),
    )


def _row(fields: Mapping[str, Any]) -> AuditRow:
    batch = fields["batch"]
    return AuditRow(
        **{name: _text(fields[name]) for name in _TEXTS},
        at=from_microseconds(fields["at"]),
        salt=_bytes(fields["salt"]),
        commitment=_bytes(fields["commitment"]),
        batch=None if batch is None else int(batch),
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("no text")
    value.encode()  # a lone surrogate has no canonical form
    return value


def _bytes(value: str | None) -> bytes | None:
    return None if value is None else bytes.fromhex(value)


def _write(file: TextIO, fields: Mapping[str, Any]) -> None:
    file.write(json.dumps(fields, ensure_ascii=False, separators=(",", ":")) + "\n")
