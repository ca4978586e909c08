"""Driver errors stop here: above the adapter there is only StoreUnavailable."""

import sqlite3

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from authsvc.domain.errors import StoreUnavailable

DRIVER_ERRORS = (SQLAlchemyError, sqlite3.Error, OSError)


def unavailable(error: BaseException) -> StoreUnavailable:
    """
    Return what callers see of a driver's error: its kind, never its text.

    A driver's text may quote statements, parameters or paths; the kind (SQLITE_BUSY, SQLITE_FULL, ...) is what an
    operator needs.
    """
    origin = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    kind = getattr(origin, "sqlite_errorname", None) or type(origin).__name__
    return StoreUnavailable(f"the record did not answer: {kind}")


def is_busy(error: BaseException) -> bool:
    """Tell whether another connection held a lock of SQLite that we asked for."""
    origin = error.orig if isinstance(error, DBAPIError) else error
    code = getattr(origin, "sqlite_errorcode", 0)
    return code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)  # the low byte is the primary code


def translated(error: Exception) -> Exception:
    """Return the error as the adapter lets it out: driver errors as StoreUnavailable, others as they are."""
    return unavailable(error) if isinstance(error, DRIVER_ERRORS) else error
