"""What people do with scatters in memory, by the rules of ``65_operations.sql``."""

import json
from collections.abc import Sequence
from dataclasses import replace

from flowstone.core.contracts.host import Host
from flowstone.core.defaults.memory_store import MemoryStore
from flowstone.core.errors import InvalidOptionError
from flowstone.plugins.scatter.coordinator import ScatterCoordinator
from flowstone.plugins.scatter.errors import BarrierNotFoundError
from flowstone.plugins.scatter.memory_barriers import Barrier, Barriers
from flowstone.plugins.scatter.memory_coordinator import HELPS, MOST_PUMPS
from flowstone.plugins.scatter.operations import (
    FailureGroup,
    ScatterChange,
    ScatterEndedError,
    ScatterOperations,
    ScatterProgress,
    Unchanged,
    time_left,
)
from flowstone.plugins.scatter.records import ItemStatus


class MemoryScatterOperations(ScatterOperations):
    """Scatters of a store in memory."""

    async def open(self, app: Host) -> None:
        if not isinstance(app.store, MemoryStore):
            kind = type(app.store).__qualname__
            raise InvalidOptionError(f"scatters in memory need its store, and this is a {kind}")
        self._app = app
        self._store = app.store
        self._barriers = app.store.attached(Barriers)

    async def scatters(
        self, *, run_id: int | None = None, limit: int = 20, before: int | None = None
    ) -> Sequence[ScatterProgress]:
        wanted = [
            id_
            for id_, it in self._barriers.items()
            if run_id in (None, it.new.run_id) and (before is None or id_ < before)
        ]
        return [await self.progress(id_) for id_ in sorted(wanted, reverse=True)[:limit]]

    async def progress(self, materialization_id: int) -> ScatterProgress:
        it = await self._looked_at(materialization_id)
        options, total = it.new.options, it.total
        is_all = it.is_closed or it.finished_at is not None
        expected = total if is_all else it.expected_total and max(it.expected_total, total)
        seconds = ((it.finished_at or self._store.clock.now()) - it.created_at).total_seconds()
        return ScatterProgress(
            materialization_id=materialization_id,
            run_id=it.new.run_id,
            asset=it.new.asset,
            partition=it.new.partition,
            status=it.state.value,
            total=total,
            completed=it.completed,
            failed=it.failed,
            retried=it.retried,
            expected_total=expected,
            is_closed=it.is_closed,
            is_batched=it.new.is_batched,
            seconds=seconds,
            seconds_left=time_left(
                done=it.completed + it.failed,
                expected=expected,
                seconds=seconds,
                is_finished=it.finished_at is not None,
            ),
            max_concurrent=options.max_concurrent,
            rate=options.rate_limit,
            failure_mode=options.failure_mode,
            failure_threshold=options.failure_threshold,
            error_message=json.loads(it.error).get("message") if it.error else None,
            created_at=it.created_at,
            finished_at=it.finished_at,
            items_pruned_at=it.items_pruned_at,
        )

    async def failures(self, materialization_id: int, *, limit: int = 50) -> Sequence[FailureGroup]:
        groups: dict[tuple[str | None, str | None], tuple[int, int]] = {}
        for item in self._barrier(materialization_id).items:
            if item.status is ItemStatus.FAILED:
                error = json.loads(item.error or "{}")
                kind = (error.get("type"), error.get("message"))
                count, first = groups.get(kind, (0, item.index))
                groups[kind] = (count + 1, first)
        ordered = sorted(groups.items(), key=lambda it: (-it[1][0], it[1][1]))
        return [FailureGroup(*kind, *found) for kind, found in ordered[:limit]]

    async def change(self, materialization_id: int, change: ScatterChange) -> ScatterProgress:
        it = await self._executing(materialization_id)
        given = {
            "max_concurrent": change.max_concurrent,
            "rate_limit": change.rate,
            "failure_threshold": change.failure_threshold,
        }
        changed = {name: value for name, value in given.items() if not isinstance(value, Unchanged)}
        it.new = replace(it.new, options=replace(it.new.options, **changed))  # type: ignore[arg-type]
        if "rate_limit" in changed:
            it.next_start = None
        # Nothing is settled by that, but a threshold that is passed now ends it.
        await self._app.coordinator(ScatterCoordinator).settle(materialization_id, [])
        if not it.has_ended() and changed.keys() & {"max_concurrent", "rate_limit"}:
            await self._call_back(it)
        return await self.progress(materialization_id)

    async def retry_failed(self, materialization_id: int) -> int:
        it = await self._executing(materialization_id)
        again: dict[int, list[int]] = {}
        for item in it.items:
            if item.status is ItemStatus.FAILED:
                item.status = ItemStatus.PENDING
                again.setdefault(item.attempts, []).append(item.index)
        count = 0
        for attempts, indexes in again.items():
            it.add_chunk(indexes, attempts)
            count += len(indexes)
        it.failed -= count
        it.retried += count
        if count:
            await self._call_back(it)
        return count

    async def _call_back(self, it: Barrier) -> None:
        self._store.hasten_assistants(it.new.id)
        ready, total = self._store.count_assistants(it.new.id)
        if ready == 0 and total < MOST_PUMPS:
            options = it.new.options
            await self._store.add_assistants(
                it.new.id, [HELPS], queue=options.queue, priority=options.priority
            )

    def _barrier(self, materialization_id: int) -> Barrier:
        it = self._barriers.get(materialization_id)
        if it is None:
            raise BarrierNotFoundError(materialization_id)
        return it

    async def _looked_at(self, materialization_id: int) -> Barrier:
        # To be asked how it stands ends one whose run was cancelled.
        await self._app.coordinator(ScatterCoordinator).status(materialization_id)
        return self._barrier(materialization_id)

    async def _executing(self, materialization_id: int) -> Barrier:
        it = await self._looked_at(materialization_id)
        if it.state.is_terminal:
            raise ScatterEndedError(materialization_id, it.new.run_id, it.state.value)
        return it
