"""
What the memory store keeps no longer, by the rules of ``sql/core/functions/88_prune_runs.sql``.

A materialization outlives its run while it is current, while a run that is kept took it, or while
something that is kept was made from it. It is looked at again when one of these ends.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import TypeVar

from flowstone.core.contracts.store import Pruned
from flowstone.core.defaults.memory_machine import Machine
from flowstone.core.defaults.memory_rows import Row, RunRow
from flowstone.core.duration import parse
from flowstone.core.retention import Retention
from flowstone.core.status import RunStatus, Status

K = TypeVar("K")

SPARED = timedelta(hours=1)
"""What was current so recently may be part of a plan that is not written yet."""


def prune(machine: Machine, retention: Retention, now: datetime, limit: int) -> Pruned:
    """Delete one batch by age."""
    jobs = list(islice(expired_jobs(machine, retention, now), limit))
    for job in jobs:
        machine.unique.release(job)
        del machine.ended_jobs[job.id], machine.rows[job.id]
    items = 0
    if retention.items is not None:
        items = _forget_items(machine, now - parse(retention.items), now)
    runs = list(islice(expired(machine, retention, now), limit))
    pruned = delete(machine, runs, now, replaced_before=now - SPARED)
    forgotten = 0
    if retention.values is not None:
        forgotten = _forget_values(machine, now - parse(retention.values))
    values = pruned.values + forgotten
    is_done = len(runs) < limit and len(jobs) < limit
    items += pruned.items
    return Pruned(pruned.runs, pruned.materializations, values, len(jobs), items, is_done)


def expired_jobs(machine: Machine, retention: Retention, now: datetime) -> Iterator[Row]:
    """Give the jobs that are kept no longer, the first to end first."""
    for row in machine.ended_jobs.values():
        jobs, failed = retention.of_queue(row.queue)
        period = failed if row.status is Status.FAILED else jobs
        if period is not None and _ended_before(row.run, now - period):
            yield row


def expired(machine: Machine, retention: Retention, now: datetime) -> Iterator[RunRow]:
    """Give the runs that are kept no longer, the first to end first."""
    for run in machine.ended.values():
        period = retention.failed if run.status is RunStatus.FAILED else retention.runs
        if period is not None and _ended_before(run, now - parse(period)):
            yield run


def delete(
    machine: Machine, runs: Sequence[RunRow], now: datetime, *, replaced_before: datetime
) -> Pruned:
    """Delete these runs, which have ended, and whatever they alone have kept."""
    gone = {run.id for run in runs}
    wave = {row.id: row for run in runs for row in _looked_at(machine, run)}
    deleted = values = items = 0
    while wave:
        upstreams: set[int] = set()
        # What was made from others comes before them: ids ascend along every edge.
        for row in sorted(wave.values(), key=lambda row: row.id, reverse=True):
            if row.run.id not in gone and not row.outlives_run:
                continue
            if row.status is Status.SUCCEEDED:
                if not _is_unread(machine, row, replaced_before):
                    continue
                values += _forget(machine, row)
                if machine.made_from.get(row.id):
                    continue
            _remove(machine, row)
            deleted += 1
            upstreams.update(row.inputs)
        wave = {id_: machine.rows[id_] for id_ in upstreams if id_ in machine.rows}
    for run in runs:
        for row in run.rows:
            if row.id in machine.rows:
                row.outlives_run = True
                items += sum(rows.forget_items(row.id, now) for rows in machine.attached.values())
                machine.outliving[row.key][row.id] = row
        _remove_run(machine, run)
    return Pruned(len(runs), deleted, values, items=items)


def _looked_at(machine: Machine, run: RunRow) -> Iterable[Row]:
    """Give the run's own, what it had taken, and what its own have replaced."""
    yield from run.rows
    for each in run.reused:
        machine.taken[each.materialization_id] -= 1
        if not machine.taken[each.materialization_id]:
            del machine.taken[each.materialization_id]
        yield machine.rows[each.materialization_id]
    for row in run.rows:
        yield from machine.outliving.get(row.key, {}).values()


def _forget_values(machine: Machine, before: datetime) -> int:
    """Forget what was replaced before that, by and of runs that had ended by then."""
    forgotten = 0
    for row in list(machine.superseded.values()):
        if row.superseded_at is None or row.superseded_at >= before:
            break
        is_over = row.outlives_run or _ended_before(row.run, before)
        if is_over and _is_unread(machine, row, before):
            forgotten += _forget(machine, row)
    return forgotten


def _forget_items(machine: Machine, before: datetime, now: datetime) -> int:
    """Forget what plugins have of items of runs that had ended by then."""
    return sum(
        rows.forget_items(id_, now)
        for rows in machine.attached.values()
        for id_ in rows
        if (row := machine.rows.get(id_)) is not None and _ended_before(row.run, before)
    )


def count_items(machine: Machine, retention: Retention, now: datetime) -> int:
    """Return what plugins have of items that are kept no longer, if only with their run."""

    def has_expired(row: Row) -> bool:
        of_run = retention.failed if row.run.status is RunStatus.FAILED else retention.runs
        periods = [parse(it) for it in (of_run, retention.items) if it is not None]
        return bool(periods) and _ended_before(row.run, now - min(periods))

    return sum(
        rows.count_items(id_)
        for rows in machine.attached.values()
        for id_ in rows
        if (row := machine.rows.get(id_)) is not None and has_expired(row)
    )


def _forget(machine: Machine, row: Row) -> int:
    machine.superseded.pop(row.id, None)
    had_value = row.value is not None or row.location is not None
    row.value = row.location = None
    return int(had_value)


def _remove(machine: Machine, row: Row) -> None:
    del machine.rows[row.id]
    for rows in machine.attached.values():
        rows.forget(row.id)
    machine.superseded.pop(row.id, None)
    _drop(machine.by_key, row.key, row)
    _drop(machine.outliving, row.key, row)
    for upstream in row.inputs:
        _drop(machine.made_from, upstream, row)


def _drop(index: dict[K, dict[int, Row]], key: K, row: Row) -> None:
    rows = index.get(key)
    if rows is not None:
        rows.pop(row.id, None)
        if not rows:
            del index[key]


def _remove_run(machine: Machine, run: RunRow) -> None:
    run.rows.clear()
    del machine.runs[run.id], machine.ended[run.id]
    if run.dedupe is not None:
        del machine.dedupes[run.dedupe]


def _is_unread(machine: Machine, row: Row, before: datetime) -> bool:
    return (
        row.superseded_at is not None
        and row.superseded_at < before
        and not machine.taken.get(row.id)
    )


def _ended_before(run: RunRow, instant: datetime) -> bool:
    return run.finished_at is not None and run.finished_at < instant
