"""A unit of work, and a look at the outcome."""

from sqlalchemy import func, select

from authsvc.domain.revocations import FactKind
from authsvc.domain.sessions import EndReason
from authsvc.storage.schema import users
from authsvc.storage.tx import Tx
from tests.storage.conformance.world import HOUR, World


def write_fact(tx: Tx) -> int:
    until = tx.now + HOUR
    return tx.write_fact(FactKind.SESSION, "s", reason=EndReason.ADMIN, useful_until=until).position


def count_users(world: World) -> int:
    return int(world.backend.look(select(func.count()).select_from(users))[0][0])
