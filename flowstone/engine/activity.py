"""What ``flowstone_activity_v1`` answered, as the store's contract has it."""

import json
from datetime import datetime, timedelta
from typing import Any

from flowstone.core.contracts.activity import (
    Activity,
    FailureActivity,
    QueueActivity,
    RunningActivity,
    WorkerActivity,
)
from flowstone.engine.rows import Row


def activity_from(row: Row) -> Activity:
    """Return the answer."""
    return Activity(
        seen_at=row["seen_at"],
        queues=[QueueActivity(**it) for it in json.loads(row["queues"])],
        workers=[_worker(it) for it in json.loads(row["workers"])],
        running=[
            RunningActivity(**{**it, "started_at": _instant(it["started_at"])})
            for it in json.loads(row["running"])
        ],
        failures=[
            FailureActivity(**{**it, "failed_at": _instant(it["failed_at"])})
            for it in json.loads(row["failures"])
        ],
    )


# Any: what is in it says the SQL function.
def _worker(it: dict[str, Any]) -> WorkerActivity:
    return WorkerActivity(
        worker_id=it["worker_id"],
        host=it["host"],
        pid=it["pid"],
        queues=it["queues"],
        running=it["running"],
        started_at=_instant(it["started_at"]),
        heartbeat_at=_instant(it["heartbeat_at"]),
        lease=timedelta(milliseconds=it["lease_ms"]),
    )


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)
