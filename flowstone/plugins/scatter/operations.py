"""
What people do with scatters while they run: look, change a limit, let failures go again.

A scatter is known by the id of its materialization; ``app.coordinator(ScatterOperations)`` gives
what is here.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Final

from flowstone.core.contracts.coordinator import Coordinator
from flowstone.core.errors import FlowStoneError, InvalidOptionError
from flowstone.core.rate import Rate
from flowstone.plugins.scatter.options import MOST_CONCURRENT


@dataclass(frozen=True, slots=True)
class ScatterProgress:
    """
    How far a scatter is.

    Attributes:
        materialization_id: What it is known by.
        total: Items that are inserted, duplicates folded; of a batched one, batches.
        expected_total: All that there will be; None while nobody knows.
        retried: How often an item was put back to be tried again.
        is_closed: Whether every item was read.
        seconds: Since it began, or until it ended.
        seconds_left: At the average pace so far; None while nobody knows.
        error_message: Why it failed.
        items_pruned_at: When its items went, by ``Retention(items=…)``; the counts stay. None:
            they are there.
    """

    materialization_id: int
    run_id: int
    asset: str
    partition: str
    status: str
    total: int
    completed: int
    failed: int
    retried: int
    expected_total: int | None
    is_closed: bool
    is_batched: bool
    seconds: float
    seconds_left: float | None
    max_concurrent: int | None
    rate: Rate | None
    failure_mode: str
    failure_threshold: float
    error_message: str | None
    created_at: datetime
    finished_at: datetime | None
    items_pruned_at: datetime | None = None

    @property
    def done(self) -> int:
        """Items that have ended."""
        return self.completed + self.failed

    @property
    def percent(self) -> float:
        """Of all that there will be, as far as that is known; 0 of nothing."""
        total = max(self.expected_total or 0, self.total)
        return round(100 * self.done / total, 1) if total else 0.0

    @property
    def failure_rate(self) -> float:
        """The share of items that failed; 0 of nothing."""
        return self.failed / self.total if self.total else 0.0

    @property
    def remark(self) -> str:
        """How it stands, in a few words."""
        if self.finished_at is not None:
            said = [f"{self.done:,} {self._what}"]
        elif self.expected_total is None:
            said = [f"{self.done:,} of {self.total:,} {self._what} so far"]
        else:
            said = [f"{self.done:,}/{self.expected_total:,} {self.percent:.3g}%"]
        if self.failed:
            said.append(f"{self.failed:,} failed")
        if self.finished_at is None and self.items_per_s:
            said.append(f"{self.items_per_s:,.0f}/s")
        if self.finished_at is None and self.seconds_left is not None:
            said.append(f"{self.seconds_left:,.0f}s left")
        return ", ".join(said)

    @property
    def _what(self) -> str:
        return "batches" if self.is_batched else "items"

    @property
    def items_per_s(self) -> float | None:
        """On average; None at the very beginning."""
        return self.done / self.seconds if self.seconds > 0 else None


def time_left(
    *, done: int, expected: int | None, seconds: float, is_finished: bool
) -> float | None:
    """Return how many seconds it will take at the average pace; None when that cannot be said."""
    if is_finished:
        return 0.0
    if expected is None or done == 0:
        return None
    return (expected - done) * seconds / done


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """
    Items that failed with the same error.

    Attributes:
        items: How many.
        first_index: The first of them.
    """

    error_type: str | None
    error_message: str | None
    items: int
    first_index: int
    last_failed_at: datetime | None = None


class Unchanged:
    """The limit stays as it is."""

    def __repr__(self) -> str:
        return "UNCHANGED"


UNCHANGED: Final = Unchanged()


@dataclass(frozen=True, slots=True)
class ScatterChange:
    """
    New limits of a scatter that runs; None removes one.

    Raises:
        InvalidOptionError: A limit is none.
    """

    max_concurrent: int | Unchanged | None = UNCHANGED
    rate: Rate | Unchanged | None = UNCHANGED
    failure_threshold: float | Unchanged = UNCHANGED

    def __post_init__(self) -> None:
        most = self.max_concurrent
        if isinstance(most, int) and not 1 <= most <= MOST_CONCURRENT:
            raise InvalidOptionError(f"max_concurrent={most}: 1 to {MOST_CONCURRENT} are possible")
        share = self.failure_threshold
        if not isinstance(share, Unchanged) and not 0 <= share <= 1:
            raise InvalidOptionError(
                f"failure_threshold={share}: the share of items that may fail is 0 to 1"
            )


class ScatterEndedError(FlowStoneError):
    """
    The scatter has ended, and stays as it is.

    Attributes:
        materialization_id: Which.
        run_id: Its run.
        status: How it ended.
    """

    code = "scatter_ended"

    def __init__(self, materialization_id: int, run_id: int, status: str) -> None:
        self.materialization_id = materialization_id
        self.run_id = run_id
        self.status = status
        super().__init__(
            f"scatter {materialization_id} has ended ({status}) and stays as it is; "
            f"a new run: flowstone runs retry {run_id}"
        )


MOST_REMARKS = 1_000


class ScatterOperations(Coordinator):
    """What people ask of the scatters of an application, and do to them."""

    contract_version: ClassVar[str] = "1.0.0"
    minimum_version: ClassVar[str] = "1.0.0"

    async def remarks(self, run_id: int) -> Mapping[int, str]:
        found = await self.scatters(run_id=run_id, limit=MOST_REMARKS)
        return {it.materialization_id: it.remark for it in found}

    @abstractmethod
    async def scatters(
        self, *, run_id: int | None = None, limit: int = 20, before: int | None = None
    ) -> Sequence[ScatterProgress]:
        """
        Return scatters, newest first.

        Args:
            before: Only those with a smaller id, to page on.
        """

    @abstractmethod
    async def progress(self, materialization_id: int) -> ScatterProgress:
        """
        Return how far one is.

        Raises:
            BarrierNotFoundError: There is none.
        """

    @abstractmethod
    async def failures(self, materialization_id: int, *, limit: int = 50) -> Sequence[FailureGroup]:
        """
        Return what items failed with, the most frequent first; nothing once its items are pruned.

        Raises:
            BarrierNotFoundError: There is no such scatter.
        """

    @abstractmethod
    async def change(self, materialization_id: int, change: ScatterChange) -> ScatterProgress:
        """
        Change limits; they hold from the next claim on, for all workers.

        A threshold that is passed already ends the scatter.

        Raises:
            BarrierNotFoundError: There is no such scatter.
            ScatterEndedError: It has ended.
        """

    @abstractmethod
    async def retry_failed(self, materialization_id: int) -> int:
        """
        Let every failed item be tried once more; return how many.

        Raises:
            BarrierNotFoundError: There is no such scatter.
            ScatterEndedError: It has ended.
        """
