"""
What keeps runs and materializations: one contract, implemented in memory and on Postgres.

A worker is a loop over a store: `Store.turn` settles what finished and claims what is next, in one
atomic step. Whatever a store does, it does by the state machine of `flowstone.core.status`, and the
suite ``flowstone.testing.contracts.store_contract`` holds both implementations to the same rows.

Source: docs/adr/0001.
"""

import asyncio
from abc import abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import ClassVar

from flowstone.core.contracts.assistants import Assistants
from flowstone.core.contracts.awaiting import Awaiting
from flowstone.core.contracts.health import Finding
from flowstone.core.contracts.job_queue import JobQueue
from flowstone.core.contracts.limits import Limits
from flowstone.core.contracts.pruning_records import Prunable, Pruned
from flowstone.core.contracts.queues import Queues
from flowstone.core.contracts.schedule_store import ScheduleStore
from flowstone.core.contracts.store_records import (
    SUSPECT_AFTER,
    Capacity,
    Claim,
    CreatedRun,
    Current,
    Key,
    Malformed,
    MaterializationRecord,
    NewRun,
    PlannedStep,
    Progress,
    Reconciled,
    Rescued,
    Reused,
    RunRecord,
    Settlement,
    StoredInput,
    Turn,
    Wait,
    WorkerInfo,
)
from flowstone.core.contracts.tables import Tables
from flowstone.core.contracts.transactions import Transactions
from flowstone.core.errors import FlowStoneError
from flowstone.core.json_value import JsonText
from flowstone.core.retention import Retention
from flowstone.core.status import RunStatus
from flowstone.core.wakeups import Wakeups

__all__ = [
    "SUSPECT_AFTER",
    "Capacity",
    "Claim",
    "CreatedRun",
    "Current",
    "JsonText",
    "Key",
    "Malformed",
    "MaterializationRecord",
    "NewRun",
    "PlannedStep",
    "Progress",
    "Prunable",
    "Pruned",
    "Reconciled",
    "Rescued",
    "Reused",
    "RunRecord",
    "Settlement",
    "Store",
    "StoredInput",
    "Turn",
    "Wait",
    "WorkerInfo",
    "WorkerLostError",
]


class WorkerLostError(FlowStoneError):
    """The worker did not beat for its lease and was given up; it must register again."""

    code = "worker_lost"
    retryable = True


class Store(Awaiting, JobQueue, Queues, Limits, ScheduleStore, Transactions, Assistants):
    """
    Runs, materializations, values and claims; jobs, schedules, queues, limits.

    Every method is one atomic step. Methods that take ``conn`` run in the caller's transaction on
    the caller's connection and commit nothing; a store without connections refuses it by name.
    Errors of the database are raised as `DatabaseError` and leave nothing half-written.
    """

    contract_version: ClassVar[str] = "1.0.0"
    minimum_version: ClassVar[str] = "1.0.0"

    is_durable: ClassVar[bool] = True
    """Whether other processes can see what this store holds."""

    def __init__(self) -> None:
        self.wakeups = Wakeups()
        self.tables: Mapping[str, Tables] = {}
        """What plugins keep beside the store's own; `open` refuses a database that lacks it."""

    @abstractmethod
    async def open(self) -> None:
        """Make ready; called once. Raises when the store is not usable as it is."""

    @abstractmethod
    async def close(self) -> None:
        """Give everything back; safe to call twice."""

    async def examine(self) -> Sequence[Finding]:
        """
        Say how the store is: reachable, fit for this code, heard of, worked on by whom.

        Raises nothing; a store that does not answer is a finding. The default has nothing to say.
        """
        return ()

    # Planning

    @abstractmethod
    async def current(
        self, keys: Sequence[Key], *, reserve: int = 0, conn: object = None
    ) -> tuple[Mapping[Key, Current], Sequence[int]]:
        """
        Return what the keys have stored (absent ones left out), and ``reserve`` new ids.

        Reserved ids ascend, and are above every id reserved before; unused ones are lost.
        """

    @abstractmethod
    async def create_run(self, run: NewRun, *, conn: object = None) -> CreatedRun:
        """
        Write the run, its materializations and the jobs of those that are ready.

        With a ``dedupe`` that an existing run has, nothing is written. A run without steps has
        succeeded at once.
        """

    @abstractmethod
    async def invalidate(
        self, keys: Sequence[Key], *, downstream: bool, io: str | None = None
    ) -> int:
        """
        Declare the keys' current values stale and return how many were not so before.

        With ``downstream`` also every current value that was made from them, by lineage, however
        far. ``io`` restricts the given keys to values held by that IO manager.
        """

    # Workers

    async def listen(self, queues: Sequence[str] = ()) -> None:
        """
        See to it that wake-ups arrive: of runs, of aborts, and of these queues.

        May be called again, with other queues. The default is for stores whose wake-ups need no
        help.
        """

    @abstractmethod
    async def register_worker(self, info: WorkerInfo) -> int:
        """Introduce a worker and return its id; it owns nothing yet. Declares its queues."""

    @abstractmethod
    async def unregister_worker(self, worker_id: int) -> None:
        """Say goodbye. What it still owns is rescued at once; safe to call twice."""

    @abstractmethod
    async def heartbeat(self, worker_id: int) -> bool:
        """Prove that the worker lives; False when it was given up and must register again."""

    @abstractmethod
    async def turn(
        self, worker_id: int, settlements: Sequence[Settlement], capacity: Capacity
    ) -> Turn:
        """
        Settle what finished, then claim what is next.

        A settlement counts only while its row is running under (worker, claim); otherwise all of it
        is refused together. A success stores value or location, moves the current pointer, writes
        the lineage edges, and makes ready the dependents whose last upstream it was. Of two
        settlements of one key, the later one is current.

        Claims come by priority (higher first), then id; timed jobs that are due come before them,
        but leave one of two places in a queue, or one in four of more, to what is not timed.
        What a queue's settings do not let through stays; see `Queues`.

        Raises:
            WorkerLostError: The worker was given up; nothing was settled or claimed.
        """

    async def locked(self, materialization_ids: Sequence[int]) -> Sequence[int]:
        """
        Return which of these cannot be settled now, as somebody holds a row that it would change.

        The default is for stores in which nobody can.
        """
        return ()

    @abstractmethod
    async def rescue(self, *, max_rescues: int, rescuer: int | None = None) -> Sequence[Rescued]:
        """
        Take back what workers own that have not beaten for the lease that they registered with.

        The worker that does so lives, however late its own beat is: after a pause of the whole
        machine it may come before that.

        A death is held against what the worker was at, and fails what it is held against for the
        ``max_rescues`` + 1st time. What it was held against twice is a suspect from then on, and
        only one suspect pays for a death: the one that the worker had named. So whoever kills
        workers can make each of its neighbors pay twice, and fails alone.
        """

    async def reconcile(self) -> Sequence[Reconciled]:
        """
        Bring materializations in line with jobs that something else than this store has moved.

        A topic ``intervention`` is published when there may be any. The default is for stores that
        nobody else can write to.
        """
        return ()

    @abstractmethod
    async def suspect(self, worker_id: int, materialization_id: int) -> None:
        """Say which of the suspects that it owns (`Claim.is_suspect`) the worker begins now."""

    @abstractmethod
    async def owned(self, worker_id: int) -> Sequence[tuple[int, int]]:
        """
        Return (materialization id, claim) of all that this worker owns.

        A worker whose turn had an unknown outcome asks this, and hands back what it does not know.
        """

    @asynccontextmanager
    async def beating(self, worker_id: Callable[[], int], every: timedelta) -> AsyncIterator[None]:
        """
        Beat for the worker for as long as the block runs.

        The body of an asset may block the event loop; a store whose workers can be taken over
        therefore beats from a thread and a connection of its own. This default beats from the loop.

        Args:
            worker_id: Says who the worker is at the moment; it changes when it registers again.
        """
        beat = asyncio.create_task(self._beat(worker_id, every))
        try:
            yield
        finally:
            beat.cancel()
            await asyncio.gather(beat, return_exceptions=True)

    async def _beat(self, worker_id: Callable[[], int], every: timedelta) -> None:
        while True:
            await self.heartbeat(worker_id())
            await asyncio.sleep(every.total_seconds())

    @abstractmethod
    async def aborts(self, worker_id: int) -> Sequence[int]:
        """Return the ids of this worker's claims that somebody asked to stop."""

    # Leadership

    @abstractmethod
    async def hold_lease(self, name: str, holder: str, duration: timedelta) -> bool:
        """
        Take the lease of that name, or renew it; False while another holds it.

        It lapses ``duration`` after this call, by the store's clock. See
        `flowstone.core.leadership.lead`, which holds one while it works.
        """

    @abstractmethod
    async def give_up_lease(self, name: str, holder: str) -> None:
        """Let others have it at once; nothing happens if this holder does not have it."""

    # Pruning

    @abstractmethod
    async def prune(self, retention: Retention, *, limit: int = 1000) -> Pruned:
        """
        Delete one batch of what is kept no longer; repeat it until it says that it is done.

        Spared, however old: current values, what runs that are kept have reused, what something
        kept was made from (its value goes), and whatever was current an hour ago, as somebody may
        have planned with it whose run is not to be seen yet. Any number may prune at once.

        A job that was held by somebody, or was ended by hand, may stay for a day more.

        Args:
            limit: About how many rows of each kind a batch has at most; of items ten times as many.
        """

    @abstractmethod
    async def prunable(self, retention: Retention) -> Prunable:
        """Return how many runs and jobs would be deleted now; it may read all there is."""

    # Waiting and stopping

    @abstractmethod
    async def wake(self, materialization_id: int, payload: JsonText) -> bool:
        """
        Let a waiting materialization go on; False when it has ended or was woken before.

        A wake-up that arrives while the materialization still runs is kept and ends the wait that
        follows at once.
        """

    @abstractmethod
    async def cancel_run(self, run_id: int) -> int:
        """
        Cancel what has not started, and ask for what runs to stop.

        Returns how many materializations were not yet terminal. Repeating it is harmless.
        """

    # Values that IO managers hold

    @abstractmethod
    async def origin(self) -> str:
        """
        Return what tells this store from others that keep values in the same place.

        A few lower-case letters and digits, the same for ever and in every process.
        """

    @abstractmethod
    async def kept(self, attempts: Sequence[tuple[int, int]]) -> set[tuple[int, int]]:
        """
        Return which attempts, by (materialization id, claim), may have a value that counts.

        Those that run, and those that succeeded with a location. An id above all that were reserved
        so far is not of this store, and so none of its business: it is among them too. What is not
        among them never will be: a claim that has ended does not come back.
        """

    # Reading

    @abstractmethod
    async def values(self, materialization_ids: Sequence[int]) -> Mapping[int, JsonText]:
        """Return the values that the store itself holds; absent ones are left out."""

    @abstractmethod
    async def run(self, run_id: int) -> RunRecord:
        """Return the run. Raises `RunNotFoundError`."""

    @abstractmethod
    async def runs(
        self, *, status: RunStatus | None = None, limit: int = 20, before: int | None = None
    ) -> Sequence[RunRecord]:
        """Return runs, newest first; ``before`` is the run id to page on from."""

    @abstractmethod
    async def materializations(self, run_id: int) -> Sequence[MaterializationRecord]:
        """Return the run's materializations in the order in which they were planned."""

    @abstractmethod
    async def progress(self, run_id: int, *, since: str | None = None) -> Progress:
        """
        Return how the run stands, and which of its materializations have changed.

        All of it is of one moment: a run that has ended comes with the ends that nobody has seen.

        Args:
            since: The mark of an earlier answer; None is from the beginning, and brings all.

        Raises:
            RunNotFoundError: There is no such run.
        """

    @abstractmethod
    async def reused(self, run_id: int) -> Sequence[Reused]:
        """Return what the run took as it was, with the reasons."""

    @abstractmethod
    async def outputs(self, run_id: int, keys: Sequence[Key]) -> Mapping[Key, StoredInput]:
        """
        Return where the values are that the run computed or reused for these keys.

        Keys for which it has none (skipped, failed, not of the run) are left out. Other runs may
        have moved the current pointer since; these are this run's own values.
        """

    @abstractmethod
    async def history(self, key: Key, *, limit: int = 20) -> Sequence[MaterializationRecord]:
        """Return the key's materializations, newest first."""

    @abstractmethod
    async def lineage(self, key: Key) -> tuple[Sequence[Key], Sequence[Key]]:
        """Return what the current value was made from, and what is currently made from it."""
