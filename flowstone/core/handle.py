"""A run, as the one who asked for it sees it."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Generic, TypeVar

from flowstone.core import duration
from flowstone.core.contracts.store import RunRecord, Store
from flowstone.core.contracts.telemetry_emitter import TelemetryEmitter
from flowstone.core.error_record import read_record
from flowstone.core.errors import (
    FailedMaterialization,
    HandleTimeoutError,
    OpenWait,
    RunCancelledError,
    RunFailedError,
)
from flowstone.core.status import RunStatus, Status
from flowstone.core.until_ended import until_ended

T_co = TypeVar("T_co", covariant=True)


class RunHandle(Generic[T_co]):
    """
    One run; ``run_id`` is what rows and commands call it.

    A handle holds nothing: any process may make one from the id with ``app.handle``.
    """

    def __init__(
        self,
        store: Store,
        run_id: int,
        load: Callable[[RunRecord], Awaitable[T_co]],
        *,
        created: bool = True,
        telemetry: TelemetryEmitter | None = None,
    ) -> None:
        self._store = store
        self._load = load
        self._telemetry = telemetry
        self.run_id = run_id
        self.created = created

    def __repr__(self) -> str:
        return f"<run {self.run_id}>"

    async def status(self) -> RunRecord:
        """
        Return the run as it stands.

        Raises:
            RunNotFoundError: It was pruned.
        """
        return await self._store.run(self.run_id)

    async def wait(self, timeout: timedelta | str | float | None = None) -> RunRecord:
        """
        Return the run once it has ended, however it did.

        Wakes by notification, and looks every few seconds for one that was lost. A store that does
        not answer is waited for.

        Raises:
            HandleTimeoutError: It has not ended in this time; it goes on.
        """
        limit = None if timeout is None else duration.parse(timeout, option="timeout")
        topic = f"run:{self.run_id}"
        record = await until_ended(self._store, topic, self.status, _is_over, limit)
        if record is not None:
            if self._telemetry is not None:
                tell_end(self._telemetry, record)
            return record
        assert limit is not None
        raise HandleTimeoutError(self.run_id, limit)

    async def result(self, timeout: timedelta | str | float | None = None) -> T_co:
        """
        Wait for the run and return its target's value; of several targets, a list.

        A target that was skipped gives None.

        Raises:
            RunFailedError: A target has no value, as something failed; ``failures`` has what,
                first-hand.
            RunCancelledError: It was cancelled.
            HandleTimeoutError: It has not ended in this time; it goes on.
        """
        return await self.value_of(await self.wait(timeout))

    async def value_of(self, record: RunRecord) -> T_co:
        """Return the value of the ended run's target, or raise what became of it instead."""
        if record.status is RunStatus.SUCCEEDED or await self._has_targets(record):
            return await self._load(record)
        if record.status is RunStatus.CANCELLED:
            raise RunCancelledError(self.run_id)
        raise RunFailedError(self.run_id, await self.failures())

    async def _has_targets(self, record: RunRecord) -> bool:
        """Return whether the targets ended well: what failed is optional to them."""
        lost = {
            it.key
            for it in await self._store.materializations(self.run_id)
            if it.status not in (Status.SUCCEEDED, Status.SKIPPED)
        }
        return lost.isdisjoint(record.targets)

    async def cancel(self) -> int:
        """
        Cancel what has not started, and ask what runs to stop.

        Returns how many materializations were still open; done twice, it does no harm.
        """
        return await self._store.cancel_run(self.run_id)

    async def failures(self) -> list[FailedMaterialization]:
        """Return what failed first-hand, without what only depends on it."""
        return [
            FailedMaterialization(it.key.asset, it.key.partition, read_record(it.error))
            for it in await self._store.materializations(self.run_id)
            if it.status is Status.FAILED
        ]

    async def waits(self) -> list[OpenWait]:
        """Return what the run waits for from outside."""
        return [
            OpenWait(it.key.asset, it.key.partition, it.waiting_on, it.whom)
            for it in await self._store.materializations(self.run_id)
            if it.status is Status.WAITING and it.external and it.waiting_on
        ]


def _is_over(record: RunRecord) -> bool:
    return record.status.is_terminal


def tell_end(telemetry: TelemetryEmitter, record: RunRecord) -> None:
    """Tell that a run has ended, as the one who waited for it sees it."""
    assert record.finished_at is not None
    taken = record.finished_at - record.created_at
    telemetry.execute(
        "run.stop",
        {"duration": taken / timedelta(milliseconds=1)},
        {"run_id": record.run_id, "status": record.status.value},
    )
