"""What is going on in the memory store."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from heapq import nlargest

from flowstone.core.contracts.activity import (
    LATELY,
    MOST_COUNTED,
    Activity,
    FailureActivity,
    QueueActivity,
    RunningActivity,
    WorkerActivity,
)
from flowstone.core.defaults.memory_rows import Row, WorkerRow
from flowstone.core.status import Status

WORKED = (Status.SUCCEEDED, Status.FAILED, Status.SKIPPED)


def activity(
    rows: Collection[Row],
    workers: Sequence[WorkerRow],
    paused: Collection[str],
    now: datetime,
    most: int,
) -> Activity:
    """Return it; ``most`` is how many of what runs and of what failed."""
    running = [_running(row, worker.id) for worker in workers for row in worker.owned.values()]
    return Activity(
        seen_at=now,
        queues=_queues(rows, workers, paused, now),
        workers=[_worker(it) for it in workers],
        running=sorted(running, key=lambda it: (it.started_at, it.id))[:most],
        failures=nlargest(most, _failures(rows), key=lambda it: (it.failed_at, it.id)),
    )


def _queues(
    rows: Iterable[Row], workers: Iterable[WorkerRow], paused: Collection[str], now: datetime
) -> list[QueueActivity]:
    due, later, running, ended = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    names = {queue for worker in workers for queue in worker.info.queues} | set(paused)
    for row in rows:
        is_lately = row.finished_at is not None and now - row.finished_at < LATELY
        if row.status is Status.RUNNING:
            running[row.queue] += 1
        elif row.status in (Status.READY, Status.WAITING):
            (due if _is_due(row, now) else later)[row.queue] += 1
        elif is_lately and row.status in WORKED and row.started_at is not None:
            ended[row.queue] += 1
    names |= due.keys() | later.keys() | running.keys() | ended.keys()
    return [
        QueueActivity(
            name,
            min(due[name], MOST_COUNTED),
            min(later[name], MOST_COUNTED),
            running[name],
            ended[name] / LATELY.total_seconds(),
            name in paused,
        )
        for name in sorted(names)
    ]


def _is_due(row: Row, now: datetime) -> bool:
    if row.due is None:
        return row.status is Status.READY
    return row.due <= now


def _worker(worker: WorkerRow) -> WorkerActivity:
    info = worker.info
    return WorkerActivity(
        worker.id,
        info.host,
        info.pid,
        list(info.queues),
        len(worker.owned),
        worker.started_at,
        worker.beaten_at,
        info.lease,
    )


def _running(row: Row, worker_id: int) -> RunningActivity:
    assert row.started_at is not None
    return RunningActivity(
        row.id,
        None if row.is_job else row.run.id,
        row.key.asset,
        row.partition,
        row.queue,
        row.attempt,
        worker_id,
        row.started_at,
    )


def _failures(rows: Iterable[Row]) -> Iterable[FailureActivity]:
    for row in rows:
        for it in row.failed_attempts if row.assists is None else ():
            run_id = None if row.is_job else row.run.id
            yield FailureActivity(
                row.id, run_id, row.key.asset, row.key.partition, it.attempt, it.failed_at, it.error
            )
