"""What people do with scatters on Postgres; what happens is in ``65_operations.sql``."""

import json
from collections.abc import Sequence
from datetime import timedelta

from flowstone.core.rate import Rate
from flowstone.engine.kept_in_tables import KeptInTables
from flowstone.engine.rows import Row, milliseconds
from flowstone.plugins.scatter.errors import BarrierNotFoundError
from flowstone.plugins.scatter.operations import (
    FailureGroup,
    ScatterChange,
    ScatterEndedError,
    ScatterOperations,
    ScatterProgress,
    Unchanged,
)

EXECUTING = "executing"


class PostgresScatterOperations(KeptInTables, ScatterOperations):
    """Scatters in the schema of the application."""

    async def scatters(
        self, *, run_id: int | None = None, limit: int = 20, before: int | None = None
    ) -> Sequence[ScatterProgress]:
        return await self._overview(None, run_id, before, limit)

    async def progress(self, materialization_id: int) -> ScatterProgress:
        found = await self._overview(materialization_id, None, None, 1)
        if not found:
            raise BarrierNotFoundError(materialization_id)
        return found[0]

    async def failures(self, materialization_id: int, *, limit: int = 50) -> Sequence[FailureGroup]:
        await self.progress(materialization_id)
        rows = await self._store.call(
            "scatter_failures_v1", ("bigint", "integer"), materialization_id, limit, is_bulk=True
        )
        return [FailureGroup(*row.values()) for row in rows]

    async def change(self, materialization_id: int, change: ScatterChange) -> ScatterProgress:
        changes: dict[str, object] = {}
        if not isinstance(change.max_concurrent, Unchanged):
            changes["max_concurrent"] = change.max_concurrent
        if not isinstance(change.rate, Unchanged):
            rate = change.rate
            changes["rate_count"] = rate and rate.count
            changes["rate_ms"] = rate and milliseconds(rate.per)
        if not isinstance(change.failure_threshold, Unchanged):
            changes["failure_threshold"] = change.failure_threshold
        rows = await self._store.call(
            "scatter_change_v1", ("bigint", "jsonb"), materialization_id, json.dumps(changes)
        )
        _executing(materialization_id, rows)
        return await self.progress(materialization_id)

    async def retry_failed(self, materialization_id: int) -> int:
        rows = await self._store.call(
            "scatter_retry_failed_v1", ("bigint",), materialization_id, is_bulk=True
        )
        items: int = _executing(materialization_id, rows)["items"]
        return items

    async def _overview(
        self, materialization_id: int | None, run_id: int | None, before: int | None, limit: int
    ) -> list[ScatterProgress]:
        rows = await self._store.call(
            "scatter_overview_v1",
            ("bigint", "bigint", "bigint", "integer"),
            materialization_id,
            run_id,
            before,
            limit,
        )
        return [_progress(row) for row in rows]


def _executing(materialization_id: int, rows: Sequence[Row]) -> Row:
    if not rows:
        raise BarrierNotFoundError(materialization_id)
    if rows[0]["status"] != EXECUTING:
        raise ScatterEndedError(materialization_id, rows[0]["run_id"], rows[0]["status"])
    return rows[0]


def _progress(row: Row) -> ScatterProgress:
    facts = dict(row)
    count, ms = facts.pop("rate_count"), facts.pop("rate_ms")
    rate = None if count is None else Rate(count, timedelta(milliseconds=ms))
    return ScatterProgress(rate=rate, **facts)
