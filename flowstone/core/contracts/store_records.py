"""
What goes over the border between a store and the rest: the records of the store's contract.

They are plain data. JSON travels as text, already checked by the codec, and comes back as it went
in.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, TypeAlias

from flowstone.core.contracts.queue_records import QueueLimits
from flowstone.core.json_value import JsonText
from flowstone.core.outcome import Until, Wake
from flowstone.core.status import Event, RunStatus, Status

StepEdges: TypeAlias = Literal[
    "inputs", "follows", "dependents", "optional_dependents", "awaits", "awaited_by", "starts"
]

SUSPECT_AFTER = 2
"""Deaths; a first one is held against everything that the worker was at."""


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """One slice of one asset: its full name and its encoded partition (empty: none)."""

    asset: str
    partition: str


@dataclass(slots=True)
class Current:
    """
    The value that an asset's partition has now.

    Attributes:
        materialization_id: The materialization that produced it.
        io: The IO manager that holds it; None when the store itself does.
        location: Where that manager put it; None when the store holds the value.
        version: Code (and configuration) that produced it.
        upstreams: Materializations that it was made from or after.
        invalidated: Whether somebody declared it stale since.
    """

    materialization_id: int
    io: str | None
    location: JsonText | None
    version: str
    upstreams: Sequence[int]
    materialized_at: datetime
    invalidated: bool


@dataclass(slots=True)
class PlannedStep:
    """
    One materialization of a new run, with the id it will have.

    Attributes:
        unmet: How many of its upstreams are steps of this run; zero is ready at once.
        inputs: Materializations whose values are loaded, of this run or reused.
        follows: Materializations that only have to come first.
        dependents: Steps of this run that need this one to succeed.
        optional_dependents: Steps of this run that go on without it.
        awaits: Materializations, of this run or reused, that it waits for itself once it has begun.
        awaited_by: Steps of this run that wait for this one themselves.
        starts: Steps of this run that are held until this one waits for the first time, or
            succeeds; without having begun it ends them as it ends its dependents.
        is_tolerated: Whether the run does not fail, and is not cancelled, by its end.
        reason: Why it runs, for people.
    """

    id: int
    key: Key
    queue: str
    priority: int
    reason: str
    unmet: int = 0
    inputs: list[int] | tuple[()] = ()
    follows: list[int] | tuple[()] = ()
    dependents: list[int] | tuple[()] = ()
    optional_dependents: list[int] | tuple[()] = ()
    awaits: list[int] | tuple[()] = ()
    awaited_by: list[int] | tuple[()] = ()
    starts: list[int] | tuple[()] = ()
    is_tolerated: bool = False

    def add(self, edges: StepEdges, id_: int) -> None:
        """
        Add to one of the lists, which is made then.

        A run has thousands of steps and each has few edges: lists that stay empty would be most of
        what planning makes, and of what the garbage collector looks at.
        """
        known = getattr(self, edges)
        if known:
            known.append(id_)
        else:
            setattr(self, edges, [id_])


@dataclass(slots=True)
class Reused:
    """A stored value that a new run takes as it is, and why it may."""

    materialization_id: int
    key: Key
    reason: str


@dataclass(slots=True)
class NewRun:
    """
    A planned run, ready to be written.

    Attributes:
        targets: What was asked for.
        options: The run's JSON-safe options (RunConfig), or None when there are none.
        dedupe: A repeat with the same text returns the first run, for as long as that is kept.
        at: Not before this instant; None is at once.
        retry_of: The run that this one repeats.
    """

    targets: Sequence[Key]
    steps: Sequence[PlannedStep]
    reused: Sequence[Reused]
    options: JsonText | None = None
    dedupe: str | None = None
    at: datetime | None = None
    retry_of: int | None = None


@dataclass(frozen=True, slots=True)
class CreatedRun:
    """The run's id, and whether it is new (False: ``dedupe`` found an earlier one)."""

    run_id: int
    created: bool


@dataclass(slots=True)
class StoredInput:
    """
    A value that a claimed materialization depends on.

    Attributes:
        value: The JSON text when the store holds it and it is small; None otherwise: load it
            through the IO manager ``io``, or with `Store.values` when ``io`` is None.
    """

    asset: str
    materialization_id: int
    io: str | None
    location: JsonText | None
    value: JsonText | None


@dataclass(slots=True)
class Claim:
    """
    A materialization that this worker owns until it settles it.

    Attributes:
        run_id: None is a job, whose name is in ``asset``.
        claim: The fence: grows whenever the job leaves a worker, a snooze included.
        attempt: What the author sees: 1 for the first; a snooze gives it back.
        options: The run's options as JSON text, or None.
        wake: Why a waiting materialization goes on; None on a first start.
        rescues: How many deaths of a worker were held against it.
        arguments: What a job's function is called with; a JSON object. Of an assistant, what it was
            added with.
        assists: Of an assistant, the materialization that it works for.
    """

    id: int
    claim: int
    run_id: int | None
    asset: str
    partition: str
    attempt: int
    inputs: Sequence[StoredInput] = ()
    options: JsonText | None = None
    wake: Wake | None = None
    queue: str = ""
    rescues: int = 0
    arguments: JsonText | None = None
    assists: int | None = None

    @property
    def label(self) -> str:
        """What it is, for people."""
        if self.run_id is None:
            return f"{self.asset}, job {self.id}"
        slice_ = f"[{self.partition}]" if self.partition else ""
        return f"{self.asset}{slice_}, run {self.run_id}"

    @property
    def is_suspect(self) -> bool:
        """Whether it may be what kills its workers; see `Store.rescue`."""
        return self.rescues >= SUSPECT_AFTER


@dataclass(slots=True)
class Wait:
    """What a materialization that settles as waiting waits for; see `outcome.Waiting`."""

    on: str
    state: JsonText
    external: bool
    whom: tuple[str, ...] = ()
    until: Until | None = None


@dataclass(slots=True)
class Settlement:
    """
    What became of a claim.

    Attributes:
        event: One of the settling events (`Event.settles`).
        value: JSON text for the store's own value table; None when an IO manager has it.
        error: The failure, as JSON; also for a retry, and the reason of a skip or cancel.
        delay: With a retry, snooze or hand-back: not before this much later; with a wait: its
            deadline (None: no deadline).
        duration_ms: How long the attempt took, in milliseconds.
    """

    id: int
    claim: int
    event: Event
    value: JsonText | None = None
    io: str | None = None
    location: JsonText | None = None
    version: str = ""
    error: JsonText | None = None
    delay: timedelta | None = None
    wait: Wait | None = None
    duration_ms: int = 0


@dataclass(frozen=True, slots=True)
class Capacity:
    """
    What a worker has room for.

    Attributes:
        queues: Free slots by queue.
        run_id: Take from this run only, whatever the queue; ``slots`` says how many.
    """

    queues: Mapping[str, int] = field(default_factory=dict)
    run_id: int | None = None
    slots: int = 0


@dataclass(slots=True)
class Malformed:
    """
    A job in our queue that there is nothing to do for; the store has failed it.

    Attributes:
        ended: How its materialization has ended; None when it has none.
        run_id: The materialization's run.
    """

    job_id: int
    arguments: str
    ended: Status | None = None
    run_id: int | None = None


@dataclass(slots=True)
class Turn:
    """
    What one turn brought.

    Attributes:
        refused: Ids of settlements whose claim was no longer this worker's; nothing of them was
            written.
        next_due: When the next timed job falls due, if no claim was returned and one is waiting.
        held: A limit holds back what is due: when it may let go of it.
    """

    claims: Sequence[Claim] = ()
    refused: Sequence[int] = ()
    malformed: Sequence[Malformed] = ()
    next_due: timedelta | None = None
    held: timedelta | None = None


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """
    How a worker introduces itself.

    Attributes:
        lease: How long it may fail to beat before others take it for dead.
        limits: What its code says about queues; see `Queues.declare_queues`.
    """

    host: str
    pid: int
    queues: Sequence[str]
    lease: timedelta = timedelta(seconds=15)
    limits: Mapping[str, QueueLimits] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rescued:
    """Work taken back from a worker that stopped beating."""

    worker_id: int
    materialization_ids: Sequence[int]


@dataclass(frozen=True, slots=True)
class Reconciled:
    """
    A materialization whose job somebody else had moved.

    Attributes:
        outcome: What the store made of it: ``put_back`` (a worker that is not ours had taken it),
            ``retried`` (its worker's claim is void), ``cancelled`` or ``failed``.
        queue: Of its job.
        message: What was done to the job, and by whom.
    """

    outcome: Literal["put_back", "retried", "cancelled", "failed"]
    materialization_id: int
    run_id: int
    key: Key
    queue: str
    message: str


@dataclass(slots=True)
class RunRecord:
    """A run as it stands; ``counts`` has the number of its materializations by status."""

    run_id: int
    status: RunStatus
    targets: Sequence[Key]
    options: JsonText | None
    created_at: datetime
    finished_at: datetime | None
    counts: Mapping[Status, int]
    reused_count: int
    retry_of: int | None


@dataclass(slots=True)
class MaterializationRecord:
    """
    A materialization as it stands.

    Attributes:
        error: JSON of the last failure, or the reason of a skip or cancel.
        waiting_on: What it waits for, while it waits.
        external: Whether only an outside event can end that wait.
        whom: Whom it waits for, while it waits; see `outcome.Waiting`.
    """

    id: int
    run_id: int
    key: Key
    status: Status
    attempt: int
    reason: str
    error: JsonText | None
    waiting_on: str | None
    external: bool
    started_at: datetime | None
    finished_at: datetime | None
    duration_ms: int | None
    whom: tuple[str, ...] = ()


@dataclass(slots=True)
class Progress:
    """
    What a run has done since somebody last looked.

    Attributes:
        changed: Materializations that have changed since; one that has not may be among them.
        mark: What to give the next time.
        seen_at: The store's time of this look.
    """

    status: RunStatus
    created_at: datetime
    finished_at: datetime | None
    changed: Sequence[MaterializationRecord]
    mark: str
    seen_at: datetime
