"""What the memory store writes, as errors, on rows that it ends by itself."""

import json

from flowstone.core.defaults.memory_rows import Row
from flowstone.core.errors import DependencyFailedError
from flowstone.core.json_value import JsonText


def upstream_ended(upstream: Row) -> JsonText:
    """Say that a value will not come."""
    return json.dumps(
        {
            "code": DependencyFailedError.code,
            "message": f"upstream {upstream.key.asset} {upstream.status.replace('_', ' ')}",
            "upstream": upstream.key.asset,
        }
    )


def worker_died(row: Row) -> JsonText:
    """Say that it has cost too many workers their life."""
    message = f"its worker died {row.rescues} times while running it"
    return json.dumps({"code": "worker_died", "message": message})


def superseded(by: Row) -> JsonText:
    """Say that another job has taken its unique key."""
    message = f"job {by.id} has taken its unique key meanwhile"
    return json.dumps({"code": "superseded", "message": message, "job_id": by.id})
