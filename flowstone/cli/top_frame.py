"""What ``flowstone top`` shows at one moment: four lists, for people and for machines."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from flowstone.cli.output import cell, columns, seconds_text, time_text
from flowstone.cli.run_documents import error_text, key_text
from flowstone.core.contracts.activity import (
    MOST_COUNTED,
    Activity,
    QueueActivity,
    WorkerActivity,
)
from flowstone.core.contracts.store import Key


@dataclass(frozen=True, slots=True)
class Part:
    """
    One list.

    Attributes:
        left_out: How many more there are.
        is_alarming: By row: whether somebody should look at it.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    left_out: int
    is_alarming: Sequence[bool]

    @property
    def heading(self) -> str:
        """The title, and how many rows there is no room for."""
        return f"{self.title} (and {self.left_out} more)" if self.left_out else self.title


def parts_of(activity: Activity, room: int) -> list[Part]:
    """Return the lists, of ``room`` rows each at most."""
    return [
        _queues(activity, room),
        _workers(activity, room),
        _running(activity, room),
        _failures(activity, room),
    ]


def headline(activity: Activity) -> str:
    """Return the sums in one line."""
    due = sum(it.due for it in activity.queues)
    running = sum(it.running for it in activity.queues)
    rate = sum(it.per_second for it in activity.queues)
    is_more = any(it.due >= MOST_COUNTED for it in activity.queues)
    more = "+" if is_more else ""
    workers = f"{len(activity.workers)} worker{'' if len(activity.workers) == 1 else 's'}"
    at = time_text(activity.seen_at.replace(microsecond=0)) or ""
    return f"{at.replace('.000', '')}  {workers}  {due}{more} due  {running} running  {rate:.1f}/s"


def frame_text(activity: Activity, room: int) -> str:
    """Return it all as text."""
    parts = (
        f"{it.heading}\n{columns(it.header, it.rows)}" if it.rows else it.heading
        for it in parts_of(activity, room)
    )
    return "\n\n".join([headline(activity), *parts])


def frame_document(activity: Activity) -> dict[str, object]:
    """Return it all for machines."""
    now = activity.seen_at
    return {
        "seen_at": time_text(now),
        "queues": [
            {
                "queue": it.name,
                "due": it.due,
                "later": it.later,
                "running": it.running,
                "per_second": round(it.per_second, 3),
                "is_paused": it.is_paused,
            }
            for it in activity.queues
        ],
        "workers": [
            {
                "worker_id": it.worker_id,
                "host": it.host,
                "pid": it.pid,
                "queues": list(it.queues),
                "running": it.running,
                "started_at": time_text(it.started_at),
                "heartbeat_at": time_text(it.heartbeat_at),
                "lease_seconds": it.lease.total_seconds(),
            }
            for it in activity.workers
        ],
        "running": [
            {
                "id": it.id,
                "run_id": it.run_id,
                "name": it.name,
                "partition": it.partition or None,
                "queue": it.queue,
                "attempt": it.attempt,
                "worker_id": it.worker_id,
                "started_at": time_text(it.started_at),
                "seconds": round((now - it.started_at).total_seconds(), 3),
            }
            for it in activity.running
        ],
        "failures": [
            {
                "id": it.id,
                "run_id": it.run_id,
                "name": it.name,
                "partition": it.partition or None,
                "attempt": it.attempt,
                "failed_at": time_text(it.failed_at),
                "error": json.loads(it.error),
            }
            for it in activity.failures
        ],
    }


def _queues(activity: Activity, room: int) -> Part:
    shown = activity.queues[:room]
    served = {queue for worker in activity.workers for queue in worker.queues}
    states = ["paused" if it.is_paused else _unserved(it, served) for it in shown]
    return Part(
        "queues" if activity.queues else "no queue holds anything",
        ("queue", "due", "later", "running", "per second", ""),
        [
            (
                cell(it.name),
                _counted(it.due),
                _counted(it.later),
                str(it.running),
                f"{it.per_second:.1f}",
                state,
            )
            for it, state in zip(shown, states, strict=True)
        ],
        len(activity.queues) - len(shown),
        [bool(state) for state in states],
    )


def _unserved(queue: QueueActivity, served: Collection[str]) -> str:
    return "nobody serves it" if queue.due and queue.name not in served else ""


def _workers(activity: Activity, room: int) -> Part:
    shown = activity.workers[:room]
    now = activity.seen_at
    return Part(
        "workers" if activity.workers else "no worker runs: flowstone worker",
        ("worker", "host", "pid", "queues", "running", "heartbeat", "up"),
        [
            (
                str(it.worker_id),
                cell(it.host),
                str(it.pid),
                cell(", ".join(it.queues)) or "one run",
                str(it.running),
                _ago(now, it.heartbeat_at) + (" LOST" if _is_lost(it, now) else ""),
                _ago(now, it.started_at),
            )
            for it in shown
        ],
        len(activity.workers) - len(shown),
        [_is_lost(it, now) for it in shown],
    )


def _running(activity: Activity, room: int) -> Part:
    shown = activity.running[:room]
    # Queues are counted a moment before: what has ended since is in no list, and no more is there.
    total = sum(it.running for it in activity.queues) if len(shown) == room else 0
    return Part(
        "running, the longest first" if activity.running else "nothing runs",
        ("id", "name", "queue", "attempt", "worker", "for"),
        [
            (
                str(it.id),
                cell(key_text(Key(it.name, it.partition))),
                cell(it.queue),
                str(it.attempt),
                str(it.worker_id),
                _ago(activity.seen_at, it.started_at),
            )
            for it in shown
        ],
        max(0, total - len(shown)),
        [False for _ in shown],
    )


def _failures(activity: Activity, room: int) -> Part:
    shown = activity.failures[:room]
    return Part(
        "failed attempts, the newest first" if activity.failures else "nothing has failed",
        ("id", "name", "attempt", "ago", "why"),
        [
            (
                str(it.id),
                cell(key_text(Key(it.name, it.partition))),
                str(it.attempt),
                _ago(activity.seen_at, it.failed_at),
                cell(error_text(it.error)),
            )
            for it in shown
        ],
        0,
        [False for _ in shown],
    )


def _is_lost(worker: WorkerActivity, now: datetime) -> bool:
    return now - worker.heartbeat_at > worker.lease


def _counted(count: int) -> str:
    return f"{count}+" if count >= MOST_COUNTED else str(count)


def _ago(now: datetime, then: datetime) -> str:
    return seconds_text(max(0.0, (now - then).total_seconds()))
