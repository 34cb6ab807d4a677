"""The part of the Postgres store that manages queues; what happens is in ``sql/core``."""

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta

from flowstone.core.contracts.queues import (
    UNCHANGED,
    QueueLimits,
    QueueRecord,
    Queues,
    Unchanged,
)
from flowstone.core.rate import Rate
from flowstone.engine.rows import Row, milliseconds
from flowstone.engine.store_calls import StoreCalls


class PostgresQueues(StoreCalls, Queues):
    """Queues in the tables of one schema."""

    async def pause_queue(self, queue: str) -> None:
        await self._fetch("flowstone_pause_queue_v1", ("text", "boolean"), queue, True)

    async def resume_queue(self, queue: str) -> None:
        await self._fetch("flowstone_pause_queue_v1", ("text", "boolean"), queue, False)

    async def limit_queue(
        self,
        queue: str,
        *,
        max_running: int | Unchanged | None = UNCHANGED,
        rate: Rate | Unchanged | None = UNCHANGED,
    ) -> None:
        changes: dict[str, int | None] = {}
        if not isinstance(max_running, Unchanged):
            changes["max_running"] = max_running
        if not isinstance(rate, Unchanged):
            changes |= _columns(rate)
        await self._limit(queue, json.dumps(changes))

    async def reset_queue_limits(self, queue: str) -> None:
        await self._limit(queue, None)

    async def _limit(self, queue: str, changes: str | None) -> None:
        await self._fetch("flowstone_limit_queue_v1", ("text", "json"), queue, changes)

    async def declare_queues(self, limits: Mapping[str, QueueLimits]) -> None:
        said = [
            {"name": name, "max_running": it.max_running, **_columns(it.rate)}
            for name, it in limits.items()
        ]
        await self._fetch("flowstone_declare_queues_v1", ("json",), json.dumps(said))

    async def scale_queue(self, queue: str, slots: int | None, *, worker: int | None) -> bool:
        types = ("text", "integer", "bigint")
        return bool(await self._value("flowstone_scale_queue_v1", types, queue, slots, worker))

    async def slots(self, worker_id: int) -> Mapping[str, int]:
        found = await self._fetch("flowstone_slots_v1", ("bigint",), worker_id)
        return {row["queue"]: row["slots"] for row in found}

    async def queues(self, queue: str | None = None) -> Sequence[QueueRecord]:
        found = await self._fetch("flowstone_queues_v1", ("text",), queue, is_bulk=True)
        return [_record(row) for row in found]

    async def is_drained(self, queue: str) -> bool:
        return bool(await self._value("flowstone_is_drained_v1", ("text",), queue))


def _columns(rate: Rate | None) -> dict[str, int | None]:
    return {
        "rate_count": None if rate is None else rate.count,
        "rate_ms": None if rate is None else milliseconds(rate.per),
    }


def _record(row: Row) -> QueueRecord:
    rate = None
    if row["rate_count"] is not None:
        rate = Rate(row["rate_count"], timedelta(milliseconds=row["rate_ms"]))
    return QueueRecord(
        row["name"],
        row["paused_at"],
        row["slots"],
        QueueLimits(row["max_running"], rate),
        row["limits_from"],
        row["due"],
        row["later"],
        row["running"],
        row["workers"],
    )
