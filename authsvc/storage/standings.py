"""What a merge combines of a user, in its row and in the memory of merges."""

import json
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import update

from authsvc.domain.people import Standing
from authsvc.domain.users import Block
from authsvc.storage.schema import users
from authsvc.storage.tx import Tx


def write_standing(tx: Tx, user_id: str, standing: Standing) -> None:
    """Write roles, external id and block into the row of a user that is held."""
    block = standing.block
    tx.connection.execute(
        update(users)
        .where(users.c.user_id == user_id)
        .values(
            roles=json.dumps(standing.roles),
            external_id=standing.external_id,
            blocked_at=None if block is None else block.at,
            blocked_until=None if block is None else block.until,
            blocked_reason="" if block is None else block.reason,
            blocked_by="" if block is None else block.by,
        )
    )


def write_previous_ids(tx: Tx, user_id: str, previous_ids: Sequence[str]) -> None:
    """Write what `user_aliases` says into the row of a user that is held."""
    tx.connection.execute(
        update(users).where(users.c.user_id == user_id).values(previous_ids=json.dumps(previous_ids))
    )


def to_json(standing: Standing) -> str:
    """Return the text that `from_json` reads."""
    block = standing.block
    fields = {
        "roles": standing.roles,
        "external_id": standing.external_id,
        "block": None
        if block is None
        else {
            "reason": block.reason,
            "by": block.by,
            "at": block.at.isoformat(),
            "until": None if block.until is None else block.until.isoformat(),
        },
    }
    return json.dumps(fields, ensure_ascii=False)


def from_json(text: str) -> Standing:
    """Return what one side of a merge was."""
    fields = json.loads(text)
    block = fields["block"]
    return Standing(
        roles=tuple(fields["roles"]),
        external_id=fields["external_id"],
        block=None
        if block is None
        else Block(
            reason=block["reason"],
            by=block["by"],
            at=datetime.fromisoformat(block["at"]),
            until=None if block["until"] is None else datetime.fromisoformat(block["until"]),
        ),
    )
