"""What PostgreSQL's and asyncpg's errors mean: who may try again, and what callers are told."""

from enum import Enum, auto

import asyncpg
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from authsvc.domain.errors import StoreUnavailable
from authsvc.storage.tx import Overtaken

# asyncpg tells of a connection that went away by its own exceptions, by the socket's, or by being closed already.
DRIVER_ERRORS = (
    SQLAlchemyError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
    EOFError,
)

# unique_violation: somebody else made what the unit did not find. feature_not_supported is what "cached plan must not change result type" comes as, once, after a migration.
_LOCKED = "55P03"
_ROLLED_BACK = frozenset({"23505", "0A000"})
_TRANSACTION_ROLLBACK = "40"
# admin_shutdown, crash_shutdown, cannot_connect_now; class 08 is connection_exception.
_GONE = frozenset({"57P01", "57P02", "57P03"})
_CONNECTION = "08"


class Fault(Enum):
    """What a failed statement says about its transaction and its connection."""

    AGAIN = auto()  # the server rolled it back: the same unit may be run again
    LOCKED = auto()  # likewise, after a lock was waited for as long as may be
    GONE = auto()  # the connection is no more
    REFUSED = auto()  # the server refused it, and would again


def judge(error: BaseException) -> Fault:
    """Return what an error of the driver means for what is to be done next."""
    if isinstance(error, Overtaken):
        return Fault.AGAIN
    origin = _origin(error)
    code = _sqlstate(origin)
    if code is None:
        return Fault.GONE
    if code == _LOCKED:
        return Fault.LOCKED
    if code in _ROLLED_BACK or code.startswith(_TRANSACTION_ROLLBACK):
        return Fault.AGAIN
    if code in _GONE or code.startswith(_CONNECTION):
        return Fault.GONE
    return Fault.REFUSED


def unavailable(error: BaseException) -> StoreUnavailable:
    """
    Return what callers see: the kind and SQLSTATE of the error, never its text.

    A text of PostgreSQL quotes statements and keys (`Key (openid)=(...) already exists`).
    """
    origin = _origin(error)
    code = _sqlstate(origin)
    kind = type(origin).__name__
    return StoreUnavailable(f"the record did not answer: {kind}" + (f" ({code})" if code else ""))


def _origin(error: BaseException) -> BaseException:
    """Return the driver's own error: SQLAlchemy wraps it twice."""
    if isinstance(error, DBAPIError) and error.orig is not None:
        return error.orig.__cause__ or error.orig
    return error


def _sqlstate(origin: BaseException) -> str | None:
    code = getattr(origin, "sqlstate", None)
    return code if isinstance(code, str) else None
