"""Reading records of another system from a file, and handing them to a running service batch by batch."""

import asyncio
import csv
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import grpc

from authapi.v1 import user_service_pb2 as pb
from authapi.v1.user_service_pb2_grpc import UserServiceStub
from authsvc.system import SystemClock

BATCH = 1000
_FIELDS = ("app_id", "openid", "unionid", "external_id")
_TELL_EVERY = 10_000
_DEADLINE_S = 30
_PAUSE = timedelta(seconds=2)
_TRIES = 30  # with the pauses: about a minute


@dataclass
class Progress:
    """The last row that is done, and what became of the rows."""

    row: int = 0
    counts: dict[str, int] = field(default_factory=dict)


def read_records(file: Path, *, kind: str, from_row: int = 1) -> Iterator[pb.ImportedUser]:
    """
    Yield the records of a file, from the given row on; a CSV's heading is not counted, empty lines of a JSONL are.

    Raises:
        ValueError: naming the row that is unreadable, lacks app_id or openid, or has another field; never its values.

    """
    if kind == "auto":
        kind = "csv" if file.suffix.lower() == ".csv" else "jsonl"
    with file.open(encoding="utf-8-sig", newline="") as lines:
        rows: Iterable[dict[str, Any] | None] = _csv(lines) if kind == "csv" else map(_json, lines)
        number = from_row
        try:
            for row in islice(rows, from_row - 1, None):
                yield _record(row, number)
                number += 1
        except csv.Error:
            raise ValueError(f"row {number} is not CSV") from None


def bring_in(
    stub: UserServiceStub,
    records: Iterator[pb.ImportedUser],
    *,
    progress: Progress,
    rejects: Path | None,
    told: Callable[[], None],
) -> None:
    """
    Hand the records over; *progress* says at any time what is done, and *told* is called now and then.

    Raises:
        grpc.RpcError: the service refused a batch, or could not be reached for a minute.
        ValueError: see `read_records`; the rows before it are done.

    """
    for batch in _batches(records):
        response = _patiently(stub, pb.ImportUsersRequest(users=batch))
        for record, outcome in zip(batch, response.outcomes, strict=True):
            name = pb.ImportOutcome.Name(outcome).removeprefix("IMPORT_OUTCOME_").lower()
            progress.counts[name] = progress.counts.get(name, 0) + 1
            if rejects is not None and outcome == pb.IMPORT_OUTCOME_CONFLICT:
                _reject(rejects, record)
        before, progress.row = progress.row, progress.row + len(batch)
        if before // _TELL_EVERY != progress.row // _TELL_EVERY:
            told()
    told()


def _batches(records: Iterator[pb.ImportedUser]) -> Iterator[list[pb.ImportedUser]]:
    batch: list[pb.ImportedUser] = []
    try:
        for record in records:
            batch.append(record)
            if len(batch) == BATCH:
                yield batch
                batch = []
    except ValueError:
        if batch:
            yield batch  # the rows before the bad one
        raise
    if batch:
        yield batch


def _patiently(stub: UserServiceStub, request: pb.ImportUsersRequest) -> pb.ImportUsersResponse:
    """Return the answer, asking again while the service cannot: importing twice is importing once."""
    for left in reversed(range(_TRIES)):
        try:
            return stub.ImportUsers(request, timeout=_DEADLINE_S)
        except grpc.RpcError as error:
            assert isinstance(error, grpc.Call)
            if error.code() is not grpc.StatusCode.UNAVAILABLE or not left:
                raise
        asyncio.run(SystemClock().sleep(_PAUSE))
    raise AssertionError("the last try raises")


def _reject(rejects: Path, record: pb.ImportedUser) -> None:
    row = {name: getattr(record, name) for name in _FIELDS if getattr(record, name)}
    # Personal data: for its owner's eyes, like the file it came from.
    rejects.touch(mode=0o600)
    with rejects.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _csv(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    yield from csv.DictReader(lines, strict=True)


def _json(line: str) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None


def _record(row: dict[str, Any] | None, number: int) -> pb.ImportedUser:
    if row is None:
        raise ValueError(f"row {number} is not a JSON object")
    known = {name: row.get(name) or "" for name in _FIELDS}
    if any(not isinstance(value, str) for value in known.values()) or set(row) - set(_FIELDS):
        raise ValueError(f"row {number} has a field that is not text, or is none of {', '.join(_FIELDS)}")
    if not known["app_id"] or not known["openid"]:
        raise ValueError(f"row {number} lacks app_id or openid")
    return pb.ImportedUser(**known)
