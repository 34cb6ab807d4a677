"""The coordinator on Postgres: one SQL function for each verb; see ``sql/scatter``."""

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from typing import Any

from flowstone.core.json_value import JsonText
from flowstone.engine.kept_in_tables import KeptInTables
from flowstone.engine.rows import milliseconds
from flowstone.plugins.scatter.coordinator import ScatterCoordinator
from flowstone.plugins.scatter.errors import BarrierNotFoundError, ItemNotFoundError
from flowstone.plugins.scatter.item_key import stored_hash
from flowstone.plugins.scatter.options import ScatterOptions
from flowstone.plugins.scatter.records import (
    BarrierState,
    BarrierStatus,
    ChildStatus,
    Feed,
    Handed,
    Inserted,
    ItemOutcome,
    ItemRecord,
    ItemStatus,
    KeyedOutcome,
    NewBarrier,
    NewItem,
    PumpTurn,
    Turned,
)

CREATE_TYPES = (
    "bigint", "bigint", "text", "text", "text", "integer", "integer", "bigint", "double precision",
    "text", "boolean", "text", "text", "integer",
)  # fmt: skip
INSERT_TYPES = (
    "bigint", "integer", "bytea", "text[]", "text", "text", "bigint", "boolean", "bytea[]",
)  # fmt: skip
TURN_TYPES = (
    "bigint", "bigint", "integer", "bigint[]", "text::integer[]", "smallint[]", "smallint[]",
    "text", "text[]", "text[]", "bigint[]", "bigint[]", "integer", "integer", "integer", "integer",
    "boolean", "boolean", "boolean",
)  # fmt: skip
SETTLE_TYPES = ("bigint", "bytea[]", "smallint[]", "text[]", "text[]")


class PostgresScatter(KeptInTables, ScatterCoordinator):
    """Scatters in the schema of the application."""

    async def create(self, barrier: NewBarrier) -> bool:
        options = barrier.options
        limit = options.rate_limit
        created: bool = await self._store.call_value(
            "scatter_create_v1",
            CREATE_TYPES,
            barrier.id,
            barrier.run_id,
            barrier.asset,
            barrier.partition,
            json.dumps(options.to_map()),
            options.max_concurrent,
            None if limit is None else limit.count,
            None if limit is None else milliseconds(limit.per),
            options.failure_threshold,
            options.failure_mode,
            barrier.is_batched,
            barrier.input,
            options.queue,
            options.priority,
        )
        return created

    async def feed(self, barrier_id: int, *, claim: int | None = None) -> Feed | None:
        found = await self._store.call("scatter_feed_v1", ("bigint", "integer"), barrier_id, claim)
        if not found:
            if claim is not None and await self.feed(barrier_id) is not None:
                return None
            raise BarrierNotFoundError(barrier_id)
        row = found[0]
        return Feed(
            row["asset"],
            row["partition"],
            ScatterOptions.from_map(json.loads(row["options"])),
            row["input"],
            row["is_batched"],
            row["progress"],
            row["is_closed"],
            BarrierState(row["status"]),
        )

    async def insert(
        self,
        barrier_id: int,
        items: Sequence[NewItem],
        *,
        closes: bool = False,
        claim: int | None = None,
        progress: JsonText | None = None,
        expected_total: int | None = None,
        batched: Sequence[bytes] = (),
    ) -> Inserted:
        found = await self._store.call(
            "scatter_insert_v1",
            INSERT_TYPES,
            barrier_id,
            claim,
            b"".join([item.key_hash for item in items]),
            None if all(item.key is None for item in items) else [item.key for item in items],
            _listed([item.item for item in items]),
            progress,
            expected_total,
            closes,
            batched or None,
        )
        status, count, total = _only(found, barrier_id).values()
        if status == "superseded":
            return Inserted(0, total, BarrierState.EXECUTING, is_superseded=True)
        return Inserted(count, total, BarrierState(status))

    async def known(self, barrier_id: int, hashes: Sequence[bytes]) -> Collection[bytes]:
        found = await self._store.call(
            "scatter_known_v1", ("bigint", "bytea[]"), barrier_id, hashes
        )
        return {row["key_hash"] for row in found}

    async def turn(self, turn: PumpTurn) -> Turned:
        found = await self._store.call(
            "scatter_turn_v1",
            TURN_TYPES,
            turn.barrier_id,
            turn.pump_id,
            turn.claim,
            *_outcome_arrays(turn.outcomes),
            list(turn.finished_chunks),
            turn.want,
            turn.held,
            turn.running,
            turn.wanted_permits,
            turn.begins,
            turn.ends,
            turn.asks,
        )
        return _turned(_only(found, turn.barrier_id))

    async def settle(self, barrier_id: int, outcomes: Sequence[KeyedOutcome]) -> BarrierState:
        hashes = [stored_hash(it.key) for it in outcomes]
        found = await self._store.call(
            "scatter_settle_v1",
            SETTLE_TYPES,
            barrier_id,
            hashes,
            [it.event.value for it in outcomes],
            [it.result for it in outcomes],
            [it.error for it in outcomes],
        )
        status, _, unknown = _only(found, barrier_id).values()
        if unknown is not None:
            raise ItemNotFoundError(barrier_id, outcomes[unknown - 1].key)
        return BarrierState(status)

    async def gather(
        self,
        barrier_id: int,
        *,
        after: int = -1,
        limit: int = 1000,
        statuses: Sequence[ItemStatus] | None = (ItemStatus.COMPLETED,),
    ) -> Sequence[ItemRecord]:
        wanted = None if statuses is None else [status.value for status in statuses]
        types = ("bigint", "smallint[]", "integer", "integer")
        found = await self._store.call("scatter_gather_v1", types, barrier_id, wanted, after, limit)
        columns = tuple(found[0].values())
        if columns[0] is None:
            return ()
        return [
            ItemRecord(
                index, ItemStatus(status), attempts, key or item, item, result, error, errors
            )
            for index, status, attempts, key, item, result, error, errors in zip(
                *columns, strict=True
            )
        ]

    async def children(
        self, barrier_id: int, *, after: int = -1, limit: int = 100
    ) -> Sequence[ChildStatus]:
        rows = await self._store.call(
            "scatter_children_v1", ("bigint", "integer", "integer"), barrier_id, after, limit
        )
        return [ChildStatus(**row) for row in rows]

    async def end(
        self, barrier_id: int, state: BarrierState, *, error: JsonText | None = None
    ) -> bool:
        types = ("bigint", "text", "text")
        has_ended: bool = await self._store.call_value(
            "scatter_end_v1", types, barrier_id, state.value, error
        )
        if not has_ended:
            await self.status(barrier_id)
        return has_ended

    async def status(self, barrier_id: int) -> BarrierStatus:
        row = _only(
            await self._store.call("scatter_status_v1", ("bigint",), barrier_id), barrier_id
        )
        return BarrierStatus(
            row["materialization_id"],
            row["run_id"],
            row["asset"],
            row["partition"],
            BarrierState(row["status"]),
            row["total"],
            row["completed"],
            row["failed"],
            row["retried"],
            row["is_closed"],
            row["expected_total"],
            ScatterOptions.from_map(json.loads(row["options"])),
            row["error"],
            row["created_at"],
            row["finished_at"],
        )


def _only(found: Sequence[Mapping[str, Any]], barrier_id: int) -> Mapping[str, Any]:
    if not found:
        raise BarrierNotFoundError(barrier_id)
    return found[0]


def _outcome_arrays(outcomes: Sequence[ItemOutcome]) -> tuple[Sequence[object] | str | None, ...]:
    """Return the arrays of ``scatter_turn_v1``; one value stands for as many that are the same."""
    if not outcomes:
        return (None,) * 8
    is_plain = all(it.error is None and it.errors is None and it.delay is None for it in outcomes)
    return (
        _shortened([it.chunk_id for it in outcomes]),
        _literal([it.index for it in outcomes]),
        _shortened([it.attempts for it in outcomes]),
        _shortened([it.event for it in outcomes]),
        _listed([it.result or "null" for it in outcomes]),
        None if is_plain else [it.error for it in outcomes],
        None if is_plain else [it.errors for it in outcomes],
        None if is_plain else [milliseconds(it.delay) for it in outcomes],
    )


def _literal(values: list[int]) -> str:
    """Return the text of an array, which costs a tenth of what the driver does to each element."""
    return f"{{{str(values)[1:-1]}}}"


def _listed(texts: list[JsonText]) -> JsonText:
    """Return a JSON array of JSON texts; the server takes it apart for less than the driver."""
    return f"[{','.join(texts)}]"


def _shortened(values: Sequence[int]) -> Sequence[int]:
    """An array costs as much to send as it has elements, and most of them are all the same."""
    return values[:1] if values.count(values[0]) == len(values) else values


def _turned(row: Mapping[str, Any]) -> Turned:
    (status, total, completed, failed, is_closed, refused, permits, wait_ms, has_rivals, start_ms,
     spacing_ms, slack_ms, chunks, indexes, attempts, keys, items) = row.values()  # fmt: skip
    return Turned(
        BarrierState(status),
        total,
        completed,
        failed,
        is_closed,
        refused,
        permits,
        None if wait_ms is None else timedelta(milliseconds=wait_ms),
        has_rivals,
        None if start_ms is None else timedelta(milliseconds=start_ms),
        timedelta(milliseconds=spacing_ms or 0),
        None if slack_ms is None else timedelta(milliseconds=slack_ms),
        Handed(chunks, indexes, attempts, keys, items) if indexes else Handed(),
    )
