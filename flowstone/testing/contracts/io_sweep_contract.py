"""What an IO manager tells of what it has written, and a sweep over it."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from flowstone.core.contracts.io_manager import Address, IOManager, Piece
from flowstone.core.contracts.store import Claim, Settlement, Store
from flowstone.core.defaults.memory_store import MemoryStore
from flowstone.core.errors import StorageError
from flowstone.core.json_value import JsonValue
from flowstone.core.status import Event
from flowstone.core.sweep import sweep
from flowstone.testing.contracts.store_runs import Worker, failed, new_run, new_worker, retried

AT_ONCE = timedelta(seconds=-60)
"""A grace period that is over, even where the storage's clock is ahead."""


class IOSweepContract:
    """
    A part of `IOManagerContract`, for managers that implement `IOManager.written`.

    One that does not has to say so, which is its first test; the others are skipped then.
    """

    value: object
    other_value: object
    annotation: object

    async def stored(self, io: IOManager, address: Address, value: object) -> JsonValue:
        """As in `IOManagerContract`."""
        raise NotImplementedError

    async def found(self, io: IOManager, origin: str) -> list[Piece]:
        """Return what the manager has written for a store; skips the test if it cannot tell."""
        try:
            return [it async for it in io.written(origin)]
        except StorageError as error:
            assert "not support" in str(error)  # noqa: PT017 - one of two right answers
            pytest.skip(str(error))

    async def test_what_was_written_is_found_by_its_attempt(self, io: IOManager) -> None:
        address = Address("sales.report", "d:2024-01-01", 7, 1, origin="3f2a")
        others = [replace(address, claim=2), replace(address, partition="", materialization_id=8)]
        assert await self.found(io, "3f2a") == []
        before = datetime.now(UTC)
        for each in (address, *others, replace(address, materialization_id=9, origin="3f2b")):
            await self.stored(io, each, self.value)

        pieces = await self.found(io, "3f2a")

        assert {(it.materialization_id, it.claim) for it in pieces} == {(7, 1), (7, 2), (8, 1)}
        for it in pieces:
            assert abs(it.written_at - before) < timedelta(minutes=5)
            assert it.size_bytes > 0
            assert await io.exists(it.location)

    async def test_what_is_discarded_is_gone_and_nothing_else(self, io: IOManager) -> None:
        address = Address("sales.report", "d:2024-01-01", 7, 1, origin="3f2a")
        places = {
            claim: await self.stored(io, replace(address, claim=claim), self.value)
            for claim in range(1, 5)
        }
        pieces = await self.found(io, "3f2a")

        await io.discard([it.location for it in pieces if it.claim in {2, 3}])

        assert {claim for claim, it in places.items() if await io.exists(it)} == {1, 4}
        assert await io.load(places[4], self.annotation) == self.value
        assert {it.claim for it in await self.found(io, "3f2a")} == {1, 4}

    @pytest.fixture
    async def store(self) -> AsyncIterator[Store]:
        """Give the rows that a sweep goes by."""
        store = MemoryStore()
        await store.open()
        yield store
        await store.close()

    async def test_a_sweep_deletes_what_no_row_knows_and_nothing_else(
        self, io: IOManager, store: Store
    ) -> None:
        await self.found(io, "skips where it is not supported")
        worker = await new_worker(store)
        late, claim = await self._twice_claimed(store, worker)
        orphan = await self._written(io, store, late)
        current = await self._written(io, store, claim)
        await worker.settle(
            Settlement(claim.id, claim.claim, Event.SUCCEEDED, io="lake", location="1")
        )
        await new_run(store, {"b": []})
        (running,) = await worker.claims()
        uncommitted = await self._written(io, store, running)
        foreign = await self.stored(io, Address("a", "", 1, 1, "other"), self.value)

        plan = await sweep(store, "lake", io, grace=AT_ONCE, dry_run=True)
        young = await sweep(store, "lake", io)
        assert await io.exists(orphan)
        swept = await sweep(store, "lake", io, grace=AT_ONCE)
        again = await sweep(store, "lake", io, grace=AT_ONCE)

        assert (plan.found_count, plan.orphan_count, plan.problem) == (3, 1, None)
        assert young.orphan_count == 0
        assert (swept.orphan_count, swept.orphan_bytes) == (1, plan.orphan_bytes)
        assert (again.found_count, again.orphan_count) == (2, 0)
        assert not await io.exists(orphan)
        for location in (current, uncommitted, foreign):
            assert await io.load(location, self.annotation) == self.value

    async def test_an_attempt_that_settles_while_a_sweep_is_under_way_keeps_its_value(
        self, io: IOManager, store: Store
    ) -> None:
        await self.found(io, "skips where it is not supported")
        worker = await new_worker(store)
        await new_run(store, {"a": [], "b": []})
        kept, lost = await worker.claims()
        places = [await self._written(io, store, it) for it in (kept, lost)]

        class SettlesWhenAsked(MemoryStore):
            """Between what the sweep sees in the storage and what it learns from rows."""

            async def origin(self) -> str:
                return await store.origin()

            async def kept(self, attempts: object) -> set[tuple[int, int]]:
                settlement = Settlement(kept.id, kept.claim, Event.SUCCEEDED, location="1")
                assert await worker.settle(settlement, failed(lost)) == []
                return await store.kept(attempts)  # type: ignore[arg-type]  # as it was given

        swept = await sweep(SettlesWhenAsked(), "lake", io, grace=AT_ONCE)

        assert swept.orphan_count == 1
        assert [await io.exists(it) for it in places] == [True, False]

    async def _twice_claimed(self, store: Store, worker: Worker) -> tuple[Claim, Claim]:
        await new_run(store, {"a": []})
        (early,) = await worker.claims()
        await worker.settle(retried(early))
        (claim,) = await worker.claims()
        return early, claim

    async def _written(self, io: IOManager, store: Store, claim: Claim) -> JsonValue:
        origin = await store.origin()
        address = Address(claim.asset, claim.partition, claim.id, claim.claim, origin)
        return await self.stored(io, address, self.value)
