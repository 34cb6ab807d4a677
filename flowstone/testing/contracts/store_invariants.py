"""What holds at every moment between the rows of a store, whatever has happened to them."""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from flowstone.core.contracts.job_queue import JobRecord
from flowstone.core.contracts.store import (
    Claim,
    JsonText,
    Key,
    MaterializationRecord,
    RunRecord,
    Settlement,
    Store,
)
from flowstone.core.status import Event, RunStatus, Status
from flowstone.testing.contracts.store_runs import SmallRun, key

BEGAN = (Status.READY, Status.RUNNING, Status.WAITING, Status.SUCCEEDED, Status.FAILED)


@dataclass(slots=True)
class Accepted:
    """
    What a scenario has planned, and what the store has accepted from its workers.

    Attributes:
        partition: The scenario's own, so that the values of others are left out.
        jobs: By job: its arguments.
        cancelled_jobs: Those that somebody has cancelled.
        failures: By materialization: the attempt's number and the error of each that failed.
        upstreams: By materialization: its upstreams' ids and how they were written in the plan.
        own_end: By materialization: the event that its own worker ended it with.
        values: The text of each success.
        current: The success of each key that has to be the current one.
        attempts: How many attempts count, by materialization.
        claims: The latest claim number of each materialization.
        losses: How often the worker of each materialization was lost.
        waits: What each materialization waited for last.
        endings: The status in which each was first seen to have ended, runs and materializations.
    """

    partition: str
    runs: list[SmallRun] = field(default_factory=list)
    jobs: dict[int, JsonText] = field(default_factory=dict)
    cancelled_jobs: set[int] = field(default_factory=set)
    failures: defaultdict[int, list[tuple[int, JsonText]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    upstreams: dict[int, list[tuple[int, str]]] = field(default_factory=dict)
    cancelled: set[int] = field(default_factory=set)
    own_end: dict[int, Event] = field(default_factory=dict)
    values: dict[int, JsonText] = field(default_factory=dict)
    current: dict[Key, int] = field(default_factory=dict)
    attempts: Counter[int] = field(default_factory=Counter)
    claims: dict[int, int] = field(default_factory=dict)
    losses: Counter[int] = field(default_factory=Counter)
    waits: dict[int, tuple[str, int]] = field(default_factory=dict)
    endings: dict[tuple[str, int], object] = field(default_factory=dict)

    def plan(self, run: SmallRun, plan: Mapping[str, Sequence[str]]) -> None:
        """Take in a new run."""
        self.runs.append(run)
        for name, upstreams in plan.items():
            self.upstreams[run[name]] = [(run[each.strip(">?")], each) for each in upstreams]

    def enqueue(self, jobs: Mapping[int, JsonText]) -> None:
        """Take in new jobs, with their arguments."""
        self.jobs |= jobs
        self.upstreams |= {id_: [] for id_ in jobs}

    def claimed(self, claim: Claim) -> None:
        """Check what a claim says, and take it in."""
        assert claim.arguments == self.jobs.get(claim.id)
        assert (claim.run_id is None) is (claim.id in self.jobs)
        assert claim.claim > self.claims.get(claim.id, -1)
        self.claims[claim.id] = claim.claim
        self.attempts[claim.id] += 1
        assert claim.attempt == self.attempts[claim.id]
        assert claim.id not in self.own_end
        assert claim.rescues == self.losses[claim.id]
        assert {given.materialization_id: given.value for given in claim.inputs} == {
            id_: self.values[id_] for id_ in self.inputs(claim.id)
        }
        waited_for = None if claim.wake is None else (claim.wake.on, claim.wake.state)
        assert waited_for == self.waits.get(claim.id)

    def settled(self, claim: Claim, settlement: Settlement, *, is_stopping: bool) -> None:
        """Take in a settlement that the store has to accept."""
        event = settlement.event
        assert claim.id not in self.own_end, "ended twice"
        if event in (Event.FAILED, Event.RETRIED) and settlement.error is not None:
            self.failures[claim.id].append((claim.attempt, settlement.error))
        if event in (Event.SUCCEEDED, Event.FAILED, Event.SKIPPED, Event.CANCELLED):
            self.own_end[claim.id] = event
        elif is_stopping:
            self.own_end[claim.id] = Event.CANCELLED
        elif event is not Event.RETRIED:
            self.attempts[claim.id] -= 1
        if settlement.wait is not None:
            self.waits[claim.id] = (settlement.wait.on, claim.claim)
        if settlement.value is not None:
            self.values[claim.id] = settlement.value

    def lost(self, claim: Claim, *, max_rescues: int, is_begun: bool, is_stopping: bool) -> None:
        """Take in that a claim's worker was given up; what it had not begun does not pay."""
        self.losses[claim.id] += is_begun
        if is_stopping:
            self.own_end[claim.id] = Event.CANCELLED
        elif is_begun and self.losses[claim.id] > max_rescues:
            self.own_end[claim.id] = Event.FAILED

    def inputs(self, id_: int) -> set[int]:
        """Return the upstreams whose values the materialization gets."""
        loaded = {upstream for upstream, edge in self.upstreams[id_] if not edge.startswith(">")}
        return loaded & self.values.keys()

    async def open_rows(self, store: Store) -> list[MaterializationRecord]:
        """Return all materializations of runs that have not ended."""
        rows = [row for run in self.runs for row in await store.materializations(run.id)]
        return [row for row in rows if not row.status.is_terminal]

    async def open_jobs(self, store: Store) -> list[JobRecord]:
        """Return all jobs that have not ended."""
        records = (await store.jobs(list(self.jobs))).values()
        return [it for it in records if not it.status.is_terminal]

    def seen_to_end(self, kind: str, id_: int, ending: object) -> None:
        """Check that what has ended stays as it ended."""
        assert self.endings.setdefault((kind, id_), ending) == ending


async def check(store: Store, accepted: Accepted) -> None:
    """Check that the rows agree with one another and with what was accepted."""
    for run in accepted.runs:
        record = await store.run(run.id)
        rows = {row.id: row for row in await store.materializations(run.id)}
        assert set(rows) == set(run.ids.values())
        _check_run(record, rows.values(), accepted)
        statuses = {id_: row.status for id_, row in rows.items()}
        for row in rows.values():
            _check_row(row, statuses, accepted)
        values = await store.values(list(rows))
        assert dict(values) == {id_: accepted.values[id_] for id_ in rows if id_ in accepted.values}
    jobs = await store.jobs(list(accepted.jobs))
    assert set(jobs) == set(accepted.jobs)
    for job in jobs.values():
        _check_job(job, accepted)
        attempts = await store.failed_attempts(job.job_id)
        assert [(it.attempt, it.error) for it in attempts] == accepted.failures[job.job_id]
    names = {name for run in accepted.runs for name in run.ids}
    current, _ = await store.current([key(name, accepted.partition) for name in names])
    found = {each: value.materialization_id for each, value in current.items()}
    assert found == accepted.current


def _check_run(
    record: RunRecord, rows: Collection[MaterializationRecord], accepted: Accepted
) -> None:
    counts = Counter(row.status for row in rows)
    assert {status: n for status, n in record.counts.items() if n} == counts
    has_ended = all(row.status.is_terminal for row in rows)
    assert record.status.is_terminal is has_ended
    assert (record.finished_at is not None) is has_ended
    if has_ended:
        assert record.status is _ending(counts)
        accepted.seen_to_end("run", record.run_id, record.status)


def _ending(counts: Counter[Status]) -> RunStatus:
    if counts[Status.FAILED] or counts[Status.UPSTREAM_FAILED]:
        return RunStatus.FAILED
    return RunStatus.CANCELLED if counts[Status.CANCELLED] else RunStatus.SUCCEEDED


def _check_row(
    row: MaterializationRecord, statuses: Mapping[int, Status], accepted: Accepted
) -> None:
    edges = accepted.upstreams[row.id]
    needed = [statuses[id_] for id_, edge in edges if not edge.endswith("?")]
    upstreams = [statuses[id_] for id_, _ in edges]
    own_end = accepted.own_end.get(row.id)

    assert row.attempt == accepted.attempts[row.id]
    assert (row.finished_at is not None) is row.status.is_terminal
    assert (row.waiting_on is not None) is (row.status is Status.WAITING)
    if row.status.is_terminal:
        accepted.seen_to_end("materialization", row.id, (row.status, row.attempt, row.error))
    if row.status in BEGAN:
        assert all(status.is_terminal for status in upstreams)
        assert all(status is Status.SUCCEEDED for status in needed)
    match row.status:
        case Status.PENDING:
            assert not all(status.is_terminal for status in upstreams)
            assert all(s is Status.SUCCEEDED or not s.is_terminal for s in needed)
        case Status.SUCCEEDED:
            assert own_end is Event.SUCCEEDED
        case Status.FAILED:
            assert own_end is Event.FAILED
        case Status.UPSTREAM_FAILED:
            assert own_end is None
            assert {Status.FAILED, Status.UPSTREAM_FAILED} & {*needed}
        case Status.SKIPPED:
            assert own_end is Event.SKIPPED or Status.SKIPPED in needed
        case Status.CANCELLED:
            is_asked = row.run_id in accepted.cancelled
            assert own_end is Event.CANCELLED or Status.CANCELLED in needed or is_asked
        case Status.READY | Status.RUNNING | Status.WAITING:
            assert own_end is None


def _check_job(job: JobRecord, accepted: Accepted) -> None:
    own_end = accepted.own_end.get(job.job_id)

    assert job.arguments == accepted.jobs[job.job_id]
    assert job.attempt == accepted.attempts[job.job_id]
    assert job.result == accepted.values.get(job.job_id)
    assert (job.finished_at is not None) is job.status.is_terminal
    assert (job.waiting_on is not None) is (job.status is Status.WAITING)
    if job.status.is_terminal:
        ending = (job.status, job.attempt, job.error, job.result, job.duration_ms)
        accepted.seen_to_end("job", job.job_id, ending)
    match job.status:
        case Status.SUCCEEDED:
            assert own_end is Event.SUCCEEDED
        case Status.FAILED:
            assert own_end is Event.FAILED
        case Status.SKIPPED:
            assert own_end is Event.SKIPPED
        case Status.CANCELLED:
            assert own_end in (None, Event.CANCELLED)
            assert own_end is not None or job.job_id in accepted.cancelled_jobs
        case Status.READY | Status.RUNNING | Status.WAITING:
            assert own_end is None
        case Status.PENDING | Status.UPSTREAM_FAILED:
            raise AssertionError("nothing is upstream of a job")


async def check_end(store: Store, accepted: Accepted) -> None:
    """Check that all has ended, and that every current value knows what it was made from."""
    assert [(await store.run(run.id)).status.is_terminal for run in accepted.runs] == [
        True for _ in accepted.runs
    ]
    assert await accepted.open_jobs(store) == []
    current, _ = await store.current(list(accepted.current))
    names = {
        id_: key(name, accepted.partition) for run in accepted.runs for name, id_ in run.ids.items()
    }
    for each, value in current.items():
        id_ = value.materialization_id
        assert {*value.upstreams} == {upstream for upstream, _ in accepted.upstreams[id_]}
        made_from, _ = await store.lineage(each)
        assert {*made_from} == {names[upstream] for upstream in accepted.inputs(id_)}
