"""The memory store keeps the store's contract; and what is its own."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import given, settings, strategies

from flowstone.core.contracts.store import NewRun, Store
from flowstone.core.defaults.attached_rows import AttachedRows
from flowstone.core.defaults.memory_store import MemoryStore
from flowstone.core.errors import InvalidOptionError
from flowstone.core.status import Status
from flowstone.testing.contracts.store_contract import StoreContract
from flowstone.testing.contracts.store_runs import (
    key,
    materialized,
    new_run,
    new_worker,
    statuses,
    succeeded,
)
from flowstone.testing.contracts.store_scenario import play


class SetClock:
    """Tells the time that a test has set."""

    def __init__(self) -> None:
        self.instant = datetime(2024, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.instant


class TestMemoryStore(StoreContract):
    @pytest.fixture
    def clock(self) -> SetClock:
        return SetClock()

    @pytest.fixture
    async def store(self, clock: SetClock) -> AsyncIterator[MemoryStore]:
        store = MemoryStore(clock)
        self.clock_of_store = clock
        await store.open()
        yield store
        await store.close()

    async def advance(self, store: Store, delta: timedelta) -> None:
        self.clock_of_store.instant += delta


class TestWhateverHappens:
    @given(randomness=strategies.randoms(use_true_random=False))
    @settings(max_examples=100, deadline=None)
    def test_the_rows_add_up_and_every_run_ends(self, randomness: Random) -> None:
        clock = SetClock()

        async def advance(delta: timedelta) -> None:
            clock.instant += delta

        asyncio.run(play(MemoryStore(clock), advance, randomness, moves=60))


class TestSuite:
    def test_no_claim_of_the_suite_hides_another(self) -> None:
        parts = [part for part in StoreContract.__mro__ if part is not StoreContract]
        names = Counter(name for part in parts for name in vars(part) if name.startswith("test_"))

        assert [name for name, count in names.items() if count > 1] == []


class TestInMemory:
    async def test_nobody_else_sees_it(self) -> None:
        assert not MemoryStore().is_durable

    async def test_a_connection_is_refused_by_name(self) -> None:
        store = MemoryStore()
        empty = NewRun(targets=[], steps=[], reused=[])

        with pytest.raises(InvalidOptionError, match="conn"):
            await store.create_run(empty, conn=object())
        with pytest.raises(InvalidOptionError, match="conn"):
            await store.current([], conn=object())

        assert list(await store.runs()) == []

    async def test_without_a_clock_it_tells_the_real_time(self) -> None:
        store = MemoryStore()
        before = datetime.now(UTC)

        created = await store.create_run(NewRun(targets=[], steps=[], reused=[]))

        record = await store.run(created.run_id)
        assert before <= record.created_at <= datetime.now(UTC)

    async def test_a_body_that_blocks_the_loop_does_not_lose_its_work(self) -> None:
        clock = SetClock()
        store = MemoryStore(clock)
        worker = await new_worker(store)
        run = await new_run(store, {"a": []})

        async with store.beating(lambda: worker.id, timedelta(seconds=5)):
            (claim,) = await worker.claims()
            clock.instant += timedelta(hours=1)
            rescued = await store.rescue(max_rescues=0)
        late = await store.rescue(max_rescues=0)

        assert (list(rescued), list(late)) == ([], [])
        assert await worker.settle(succeeded(claim)) == []
        assert await statuses(store, run) == {"a": Status.SUCCEEDED}

    async def test_who_reads_changes_nothing(self) -> None:
        store = MemoryStore()
        worker = await new_worker(store)
        id_ = await materialized(store, worker, "a")
        current, _ = await store.current([key("a")])

        current[key("a")].invalidated = True
        current[key("a")].materialization_id = 0

        again, _ = await store.current([key("a")])
        assert (again[key("a")].invalidated, again[key("a")].materialization_id) == (False, id_)


class TestBoundedMemory:
    async def test_the_newest_runs_are_kept_and_what_is_current(self) -> None:
        store = MemoryStore(keep=100)
        worker = await new_worker(store)
        first = await materialized(store, worker, "only once")
        for number in range(1000):
            await materialized(store, worker, "a", str(number))

        runs = await store.runs(limit=1000)

        assert 100 <= len(runs) <= 126
        assert runs[0].run_id - runs[-1].run_id == len(runs) - 1
        assert len(await store.history(key("a"), limit=1000)) <= 126
        assert await store.values([first]) == {first: "1"}
        machine = store._machine
        assert len(machine.rows) <= 127
        assert len(machine.superseded) <= 126
        assert not machine.taken
        assert len(machine.made_from) == 0

    async def test_what_is_open_does_not_count(self) -> None:
        store = MemoryStore(keep=10)
        worker = await new_worker(store)
        open_runs = [await new_run(store, {"b": []}, queue="later") for _ in range(50)]
        for _ in range(50):
            await materialized(store, worker, "a")

        for run in open_runs:
            assert (await store.run(run.id)).finished_at is None


class Notes(AttachedRows[str]):
    """What a plugin keeps of materializations."""


class TestAttachedRows:
    async def test_they_go_with_their_materialization(self) -> None:
        store = MemoryStore(keep=10)
        worker = await new_worker(store)
        notes = store.attached(Notes)
        for number in range(100):
            notes[await materialized(store, worker, "a", str(number))] = "noted"

        left = set(notes)

        assert store.attached(Notes) is notes
        assert left == set(store._machine.rows)
        assert 10 <= len(left) < 20

    def test_each_kind_has_its_own(self) -> None:
        class Others(AttachedRows[int]):
            pass

        store = MemoryStore()
        store.attached(Notes)[1] = "one"

        assert store.attached(Others) == {}
        assert MemoryStore().attached(Notes) == {}
