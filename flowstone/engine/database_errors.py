"""
What the drivers raise, said in FlowStone's words.

The only file that reads SQLSTATEs. Our SQL functions raise codes of a class of their own, ``FS``:

===== ======================================================== =======================
Code  Raised when                                              Becomes
===== ======================================================== =======================
FS001 a worker was given up; its work went to others           WorkerLostError
FS002 there is no such run (``DETAIL`` is its id)              RunNotFoundError
FS003 a function has ended its ``ctx.transaction()`` itself    TransactionError
FS005 there is no such limit (``DETAIL`` is its name)          UnknownLimitError
===== ======================================================== =======================

``FS004`` never leaves the database: a unique key is held, and ``flowstone_enqueue_jobs_v1`` says by
whom.

A function or table of ours that is not there means a database that was not migrated, and says so.
"""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum

import asyncpg
import psycopg

from flowstone.core.contracts.store import WorkerLostError
from flowstone.core.errors import (
    DatabaseError,
    DatabaseUnreachableError,
    FlowStoneError,
    RunNotFoundError,
    SchemaVersionError,
    TransactionError,
    UnknownLimitError,
)
from flowstone.engine.dsn import redacted

_ASYNCPG = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
DRIVER_ERRORS = (psycopg.Error, *_ASYNCPG)
# What comes out of asyncpg when it connects or waits; its timeouts and sockets raise Python's own.
ASYNCPG_ERRORS = (*_ASYNCPG, OSError)
_NO_ANSWER = (ConnectionError, TimeoutError, socket.gaierror)
_NOT_MIGRATED = {"3F000", "42883", "42P01"}  # no such schema, function, table


class Failure(StrEnum):
    """
    What to do about a failed statement.

    UNREACHABLE: nobody answered, so what became of the statement is unknown; reconnect and ask.
    CONFLICT: a deadlock or a serialization failure; nothing happened, repeat it.
    LOCKED: a row was locked for longer than ``lock_timeout``; nothing happened, try it later.
    BUSY: the server is out of connections, memory or disk; nothing happened, wait.
    REFUSED: repeating the same will fail the same way.
    """

    UNREACHABLE = "unreachable"
    CONFLICT = "conflict"
    LOCKED = "locked"
    BUSY = "busy"
    REFUSED = "refused"


def failure_of(error: BaseException) -> Failure:
    """Say what an error of a driver, or one that `translated` made of it, asks for."""
    if isinstance(error, DatabaseUnreachableError | OSError):
        return Failure.UNREACHABLE
    sqlstate = sqlstate_of(error)
    if sqlstate is None:
        return Failure.UNREACHABLE if _is_lost(error) else Failure.REFUSED
    # 25006 is a server that became read-only under us: a failover left us on the old one.
    if sqlstate.startswith(("08", "57P")) or sqlstate == "25006":
        return Failure.UNREACHABLE
    if sqlstate.startswith("40"):
        return Failure.CONFLICT
    if sqlstate == "55P03":
        return Failure.LOCKED
    return Failure.BUSY if sqlstate.startswith("53") else Failure.REFUSED


def translated(error: BaseException) -> FlowStoneError:
    """Return FlowStone's error for a driver's; naming the cause is left to ``raise … from``."""
    sqlstate = sqlstate_of(error)
    message, hint, detail = _words_of(error)
    told = f"{message} ({hint})" if hint else message
    if sqlstate == "FS001":
        return WorkerLostError(told)
    if sqlstate == "FS002" and detail.isdecimal():
        return RunNotFoundError(int(detail))
    if sqlstate == "FS003":
        return TransactionError(
            told,
            "leave the end to FlowStone: no commit and no rollback; for what may fail alone there "
            "are savepoints, `async with conn.transaction():`",
        )
    if sqlstate == "FS005":
        return UnknownLimitError(detail)
    if sqlstate in _NOT_MIGRATED:
        return SchemaVersionError(f"{told}; was this database migrated? run: flowstone db migrate")
    if failure_of(error) is Failure.UNREACHABLE:
        return DatabaseUnreachableError(
            f"the database cannot be reached: {told}", sqlstate=sqlstate, retryable=True
        )
    if failure_of(error) is Failure.CONFLICT:
        told = f"{told}; nothing is left of the transaction: run all of it again"
    return DatabaseError(told, sqlstate=sqlstate)


@contextmanager
def database_errors() -> Iterator[None]:
    """
    Let what the drivers raise inside leave as FlowStone's errors; around ``await`` too.

    A lost or refused connection counts; other errors of the operating system are not the
    database's.
    """
    try:
        yield
    except Exception as error:
        driver_error = _driver_error(error)
        if driver_error is None and not isinstance(error, _NO_ANSWER):
            raise
        raise translated(driver_error or error) from error


@contextmanager
def connection_errors(dsn: str | None = None) -> Iterator[None]:
    """
    As `database_errors`, around a connect: a missing socket file, too, is no answer.

    Args:
        dsn: Where to; the message has it then, without its password.
    """
    try:
        with database_errors():
            yield
    except OSError as error:
        raise _at(dsn, translated(error)) from error
    except DatabaseUnreachableError as error:
        raise _at(dsn, error) from error.__cause__


def _at(dsn: str | None, error: FlowStoneError) -> FlowStoneError:
    if dsn is not None:
        error.args = (f"{error}; the dsn is {redacted(dsn)}", *error.args[1:])
    return error


def sqlstate_of(error: BaseException) -> str | None:
    """Return the five characters, from a driver's error, SQLAlchemy's around it, or ours."""
    if isinstance(error, DatabaseError):
        return error.sqlstate
    driver_error = _driver_error(error)
    return getattr(driver_error, "sqlstate", None)


def is_aborted(error: BaseException) -> bool:
    """Return whether a statement was refused only because one before it had failed."""
    return sqlstate_of(error) == "25P02"


def _driver_error(error: BaseException) -> BaseException | None:
    """Find the driver's own error; SQLAlchemy wraps it once (psycopg) or twice (asyncpg)."""
    wrapped = getattr(error, "orig", None)
    for candidate in (error, wrapped, getattr(wrapped, "__cause__", None)):
        if isinstance(candidate, DRIVER_ERRORS):
            return candidate
    return None


def _is_lost(error: BaseException) -> bool:
    """Tell a connection that is gone from a value that the driver could not send."""
    if isinstance(error, asyncpg.InterfaceError):
        return not isinstance(error, ValueError)
    if isinstance(error, asyncpg.InternalClientError):
        return True  # lost amid an exchange, it is out of step with what it hears
    return isinstance(error, psycopg.OperationalError)


def _words_of(error: BaseException) -> tuple[str, str, str]:
    """Return message, hint and detail; without the statement and its context."""
    if isinstance(error, psycopg.Error):
        message = error.diag.message_primary or str(error)
        hint, detail = error.diag.message_hint, error.diag.message_detail
    elif isinstance(error, asyncpg.PostgresError | asyncpg.InterfaceError):
        message = str(error.args[0]) if error.args else type(error).__name__
        hint, detail = getattr(error, "hint", None), error.detail
    elif isinstance(error, TimeoutError) and not str(error):
        message, hint, detail = "no answer in time", None, None
    else:
        message, hint, detail = str(error) or type(error).__name__, None, None
    return message.strip(), hint or "", detail or ""
