"""What the contexts of assets and of jobs have in common: a logger, resources, the wish to stop."""

import logging
from abc import abstractmethod
from collections.abc import Mapping, MutableMapping
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal, Protocol, TypeVar

from flowstone.core.errors import NotRegisteredError, TransactionError

T = TypeVar("T")


class ResourceLookup(Protocol):
    """How a context finds a resource."""

    def __call__(self, kind: type[T], /) -> T:
        """Return it, or raise `NotRegisteredError` or `ResourceUnavailableError`."""


class TransactionGiver(Protocol):
    """How a context gets a transaction."""

    # Any: a connection of a driver, which core does not know.
    def __call__(self, driver: str, /) -> AbstractAsyncContextManager[Any]:
        """Return a block that gives the connection, or raise `TransactionError`."""


class LimitGiver(Protocol):
    """How a context holds a limit."""

    def __call__(
        self, name: str, max_wait: timedelta | str | float | None, /
    ) -> AbstractAsyncContextManager[None]:
        """Return a block that holds it, or raise `UnknownLimitError`."""


class Cancellation:
    """Whether an attempt was asked to stop; made by its worker, polled from any thread."""

    __slots__ = ("is_requested",)

    def __init__(self) -> None:
        self.is_requested = False

    def request(self) -> None:
        """Ask for it; asking again changes nothing."""
        self.is_requested = True


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptContext:
    """
    One attempt, as the author's function sees it.

    Attributes:
        attempt: 1 for the first; a snooze gives it back.
        transactions: Where `transaction` gets one; in a unit test, whatever gives a connection.
        limits: Where `limit` asks; in a unit test nobody is asked, and nothing limited.
    """

    attempt: int = 1
    resources: ResourceLookup | None = field(default=None, repr=False)
    cancellation: Cancellation | None = field(default=None, repr=False)
    transactions: TransactionGiver | None = field(default=None, repr=False)
    limits: LimitGiver | None = field(default=None, repr=False)

    @abstractmethod
    def _facts(self) -> Mapping[str, object]:
        """Return what a log record should carry."""

    @property
    def log(self) -> "logging.LoggerAdapter[logging.Logger]":
        """The logger ``flowstone.asset``, whose records carry this context's facts."""
        return _ContextLogger(logging.getLogger("flowstone.asset"), self._facts())

    def resource(self, kind: type[T]) -> T:
        """
        Return a resource that is only known while the function runs.

        Where it is known before, ``Requires(Type)`` is better: it is part of the asset's
        description, and a test can pass another one.

        Raises:
            NotRegisteredError: There is no such resource.
            ResourceUnavailableError: Its set-up failed.
        """
        if self.resources is None:
            raise NotRegisteredError("resource", kind.__qualname__)
        return self.resources(kind)

    def transaction(
        self, driver: Literal["asyncpg", "psycopg", "sqlalchemy"] = "asyncpg"
    ) -> AbstractAsyncContextManager[Any]:
        """
        Give a connection to the application's database, for what is to commit with this attempt.

        ::

            async with ctx.transaction() as conn:
                await conn.execute("UPDATE accounts SET cents = cents - $1 WHERE id = $2", 100, 1)
            return "paid"

        What is written commits together with what the function returns, after it has returned, and
        only if this attempt still counts. An exception, also one after the block, takes it back.
        One per attempt. Open it late: locks are held, and a slot of few connections, until the
        function has returned; the server ends a transaction in which nothing is asked for two
        thirds of the worker's lease. Savepoints are the driver's own: ``conn.transaction()``.

        Args:
            driver: Whose connection: asyncpg's, psycopg's ``AsyncConnection``, or SQLAlchemy's
                (on psycopg).

        Raises:
            TransactionError: It is the second one, in memory, in a thread, or in a child process.
        """
        if self.transactions is None:
            raise TransactionError(
                "this context was made by hand, and nobody gave it connections",
                "give it what opens one: transactions=lambda driver: …",
            )
        return self.transactions(driver)

    def limit(
        self, name: str, *, max_wait: timedelta | str | float | None = "1m"
    ) -> AbstractAsyncContextManager[None]:
        """
        Hold one of the application's limits for as long as the block runs, whatever worker this is.

        ::

            async with ctx.limit("shop-api"):
                page = await http.get(url)

        It is waited for in this attempt's slot; for waits that are long as a rule, limit the queue.
        A slot that was not given back is free once this attempt has ended, or its worker died.

        Args:
            name: Of ``FlowStone(..., limits={name: Limit(slots=5, rate="100/m")})``.
            max_wait: None waits for ever.

        Raises:
            LimitTimeoutError: It was not to be had in that time; the attempt may be tried again.
            UnknownLimitError: There is none of this name.
        """
        return nullcontext() if self.limits is None else self.limits(name, max_wait)

    def is_cancelled(self) -> bool:
        """
        Return whether this attempt was asked to stop.

        For plain functions, which run in a thread that nobody can interrupt; an async function is
        cancelled at its next ``await``.
        """
        return self.cancellation is not None and self.cancellation.is_requested


class _ContextLogger(logging.LoggerAdapter[logging.Logger]):
    """Adds the context's facts to each record, below those that the caller gives."""

    def process(
        self, msg: object, kwargs: MutableMapping[str, object]
    ) -> tuple[object, MutableMapping[str, object]]:
        given = kwargs.get("extra")
        kwargs["extra"] = {**(self.extra or {}), **(given if isinstance(given, Mapping) else {})}
        return msg, kwargs
