"""The part of the Postgres store that manages queues; what happens is in ``sql/core``."""

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Unpack

from flowstone.core.contracts.queues import LimitChanges, QueueLimits, QueueRecord, Queues
from flowstone.core.rate import Rate
from flowstone.engine.rows import Row, milliseconds
from flowstone.engine.store_calls import StoreCalls

LIMITS = tuple(LimitChanges.__annotations__)
RATES = ("rate", "rate_per_key")


class PostgresQueues(StoreCalls, Queues):
    """Queues in the tables of one schema."""

    async def pause_queue(self, queue: str) -> None:
        await self.call("flowstone_pause_queue_v1", ("text", "boolean"), queue, True)

    async def resume_queue(self, queue: str) -> None:
        await self.call("flowstone_pause_queue_v1", ("text", "boolean"), queue, False)

    async def limit_queue(self, queue: str, **changes: Unpack[LimitChanges]) -> None:
        await self._limit(queue, json.dumps(_columns(changes)))

    async def reset_queue_limits(self, queue: str) -> None:
        await self._limit(queue, None)

    async def _limit(self, queue: str, changes: str | None) -> None:
        await self.call("flowstone_limit_queue_v1", ("text", "json"), queue, changes)

    async def declare_queues(self, limits: Mapping[str, QueueLimits]) -> None:
        said = [
            {"name": name, **_columns({each: getattr(it, each) for each in LIMITS})}
            for name, it in limits.items()
        ]
        await self.call("flowstone_declare_queues_v1", ("json",), json.dumps(said))

    async def scale_queue(self, queue: str, slots: int | None, *, worker: int | None) -> bool:
        types = ("text", "integer", "bigint")
        return bool(await self.call_value("flowstone_scale_queue_v1", types, queue, slots, worker))

    async def slots(self, worker_id: int) -> Mapping[str, int]:
        found = await self.call("flowstone_slots_v1", ("bigint",), worker_id)
        return {row["queue"]: row["slots"] for row in found}

    async def queues(self, queue: str | None = None) -> Sequence[QueueRecord]:
        found = await self.call("flowstone_queues_v1", ("text",), queue, is_bulk=True)
        return [_record(row) for row in found]

    async def is_drained(self, queue: str) -> bool:
        return bool(await self.call_value("flowstone_is_drained_v1", ("text",), queue))


def _columns(limits: Mapping[str, object]) -> dict[str, object]:
    """Return limits as columns: a rate is two."""
    columns: dict[str, object] = {}
    for name, limit in limits.items():
        if name in RATES:
            rate = limit if isinstance(limit, Rate) else None
            columns[f"{name}_count"] = rate and rate.count
            columns[f"{name}_ms"] = rate and milliseconds(rate.per)
        else:
            columns[name] = limit
    return columns


def _rate(row: Row, name: str) -> Rate | None:
    count, ms = row[f"{name}_count"], row[f"{name}_ms"]
    return None if count is None else Rate(count, timedelta(milliseconds=ms))


def _record(row: Row) -> QueueRecord:
    limits = QueueLimits(
        row["max_running"],
        _rate(row, "rate"),
        row["max_running_per_key"],
        _rate(row, "rate_per_key"),
    )
    return QueueRecord(
        row["name"],
        row["paused_at"],
        row["slots"],
        limits,
        row["limits_from"],
        row["due"],
        row["later"],
        row["running"],
        row["workers"],
    )
