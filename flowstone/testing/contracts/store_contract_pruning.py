"""What is kept no longer goes; what is current, open, or needed by either stays."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TypeAlias

import pytest

from flowstone.core.contracts.store import NewRun, Pruned, Store
from flowstone.core.errors import RunNotFoundError
from flowstone.core.retention import Retention
from flowstone.core.status import RunStatus, Status
from flowstone.testing.contracts.store_runs import (
    Worker,
    cancelled,
    create,
    failed,
    key,
    materialized,
    new_run,
    new_worker,
    planned,
    skipped,
    statuses,
    stored,
    succeeded,
    waited,
)
from flowstone.testing.contracts.store_suite import StoreSuite

Plan: TypeAlias = Mapping[str, Sequence[str]]

DAY = timedelta(days=1)
POLICY = Retention(30 * DAY, failed=90 * DAY, values=7 * DAY)


async def prune(store: Store, policy: Retention = POLICY, *, limit: int = 1000) -> Pruned:
    """Prune until nothing is left to prune."""
    pruned = Pruned()
    for _ in range(10_000):
        pruned += await store.prune(policy, limit=limit)
        if pruned.is_done:
            return pruned
    raise AssertionError("pruning does not end")


async def is_kept(store: Store, run_id: int) -> bool:
    """Return whether the run can still be found."""
    try:
        await store.run(run_id)
    except RunNotFoundError:
        assert await store.materializations(run_id) == []
        assert list(await store.reused(run_id)) == []
        return False
    return True


async def values(store: Store, *ids: int) -> list[int]:
    """Return the ids, of these, whose values the store has."""
    return sorted(await store.values(ids))


async def kept(store: Store, name: str) -> list[int]:
    """Return the ids of the asset's materializations, oldest first."""
    return sorted(row.id for row in await store.history(key(name), limit=1000))


async def finish(worker: Worker) -> None:
    """Succeed with all that can be claimed, wave by wave."""
    while claims := await worker.claims():
        assert await worker.settle(*map(succeeded, claims)) == []


class PruningRunsContract(StoreSuite):
    """A run goes when it ended so long ago."""

    async def test_a_run_goes_with_all_that_only_it_holds(self, store: Store) -> None:
        worker = await new_worker(store)
        old = await new_run(store, {"a": [], "b": ["a"]})
        await finish(worker)
        again = await new_run(store, {"a": [], "b": ["a"]})
        await finish(worker)
        await self.advance(store, 29 * DAY)
        young = await new_run(store, {"a": [], "b": ["a"]})
        await finish(worker)

        assert (await prune(store)).runs == 0
        await self.advance(store, 2 * DAY)
        prunable = await store.prunable(POLICY)
        pruned = await prune(store)

        assert {status: count for status, count in prunable.runs.items() if count} == {
            RunStatus.SUCCEEDED: 2
        }
        assert (pruned.runs, pruned.materializations) == (2, 4)
        assert not await is_kept(store, old.id)
        assert not await is_kept(store, again.id)
        assert await statuses(store, young) == {"a": Status.SUCCEEDED, "b": Status.SUCCEEDED}
        assert await kept(store, "a") == [young["a"]]
        assert await values(store, *old.ids.values(), *young.ids.values()) == sorted(
            young.ids.values()
        )

    @pytest.mark.parametrize("limit", [2, 3, 7, 30, 1000])
    async def test_batches_of_any_size_come_to_the_same(self, store: Store, limit: int) -> None:
        worker = await new_worker(store)
        large: Plan = {f"a{number:02}": () for number in range(20)}
        plans: list[Plan] = [{"b": ()}, large, {"b": ()}, large, {"c": (), "d": ["c"]}, large]
        runs = [await new_run(store, plan) for plan in plans]
        await finish(worker)
        empty = await store.create_run(NewRun(targets=[], steps=[], reused=[]))
        await self.advance(store, 31 * DAY)

        pruned = await prune(store, limit=limit)

        assert (pruned.runs, pruned.materializations) == (7, 41)
        for run_id in (*(run.id for run in runs), empty.run_id):
            assert not await is_kept(store, run_id)
        assert await kept(store, "a07") == [runs[5]["a07"]]
        assert await kept(store, "c") == [runs[4]["c"]]
        assert await prune(store, limit=limit) == Pruned()

    async def test_a_failed_run_is_kept_for_longer(self, store: Store) -> None:
        worker = await new_worker(store)
        runs = [await new_run(store, {name: [], f"{name}2": [name]}) for name in "fsc"]
        claims = await worker.claim()
        await worker.settle(failed(claims["f"]), skipped(claims["s"]), cancelled(claims["c"]))

        await self.advance(store, 31 * DAY)
        await prune(store)
        after_a_month = [await is_kept(store, run.id) for run in runs]
        await self.advance(store, 60 * DAY)
        await prune(store)

        assert after_a_month == [True, False, False]
        assert not await is_kept(store, runs[0].id)
        assert [await kept(store, name) for name in ("f", "f2", "s", "s2", "c")] == [[]] * 5

    async def test_what_has_no_period_is_kept_for_ever(self, store: Store) -> None:
        worker = await new_worker(store)
        run = await new_run(store, {"a": [], "f": []})
        claims = await worker.claim()
        await worker.settle(succeeded(claims["a"]), failed(claims["f"]))
        other = await materialized(store, worker, "a")
        await self.advance(store, 1000 * DAY)

        assert (await prune(store, Retention(None, failed=None, values=None))) == Pruned()
        assert await values(store, run["a"], other) == [run["a"], other]

    async def test_an_open_run_stays_however_old(self, store: Store) -> None:
        worker = await new_worker(store)
        run = await new_run(store, {"a": [], "b": ["a"], "c": ["b"]})
        claims = await worker.claim()
        await worker.settle(succeeded(claims["a"], '"old"'))
        claims = await worker.claim()
        await worker.settle(waited(claims["b"]))
        await materialized(store, worker, "a", '"new"')
        before = await store.materializations(run.id)

        await self.advance(store, 8 * DAY)
        await prune(store)
        await self.advance(store, 400 * DAY)
        await prune(store)

        assert len(await store.materializations(run.id)) == len(before) == 3
        assert await store.wake(run["b"], "1")
        (claim,) = (await worker.claim()).values()
        assert [it.value for it in claim.inputs] == ['"old"']
        await worker.settle(succeeded(claim))
        await finish(worker)
        assert (await store.run(run.id)).status is RunStatus.SUCCEEDED

    async def test_dedupe_holds_for_as_long_as_the_run_is_kept(self, store: Store) -> None:
        worker = await new_worker(store)
        first = await create(store, await planned(store, {"a": []}, dedupe="once"))
        await finish(worker)
        await self.advance(store, 29 * DAY)
        await prune(store)

        again = await store.create_run(await planned(store, {"a": []}, dedupe="once"))
        await self.advance(store, 2 * DAY)
        await prune(store)
        anew = await store.create_run(await planned(store, {"a": []}, dedupe="once"))

        assert (again.run_id, again.created) == (first.id, False)
        assert anew.created
        assert anew.run_id > first.id


class PruningValuesContract(StoreSuite):
    """A value stays while it is current or somebody may load it."""

    async def test_what_is_current_outlives_its_run(self, store: Store) -> None:
        worker = await new_worker(store)
        run = await new_run(store, {"a": []})
        await finish(worker)
        before, _ = await store.current([key("a")])
        await self.advance(store, 100 * DAY)

        await prune(store)

        assert not await is_kept(store, run.id)
        found, _ = await store.current([key("a")])
        assert found[key("a")].materialization_id == before[key("a")].materialization_id
        assert await values(store, run["a"]) == [run["a"]]
        (record,) = await store.history(key("a"))
        assert (record.id, record.run_id) == (run["a"], run.id)

    async def test_it_goes_with_the_run_of_what_replaced_it(self, store: Store) -> None:
        worker = await new_worker(store)
        old = await materialized(store, worker, "a")
        await self.advance(store, 100 * DAY)
        await prune(store)
        new = await materialized(store, worker, "a")

        await self.advance(store, 29 * DAY)
        await prune(store)
        before = await kept(store, "a")
        await self.advance(store, 2 * DAY)
        await prune(store)

        assert before == [old, new]
        assert await kept(store, "a") == [new]

    async def test_a_replaced_value_goes_before_its_history(self, store: Store) -> None:
        worker = await new_worker(store)
        ids = [await materialized(store, worker, "a", f'"{number}"') for number in range(4)]

        await self.advance(store, 6 * DAY)
        assert (await prune(store)).values == 0
        await self.advance(store, 2 * DAY)
        pruned = await prune(store)

        assert (pruned.runs, pruned.values) == (0, 3)
        assert await values(store, *ids) == [ids[-1]]
        assert await kept(store, "a") == ids

    async def test_it_goes_too_when_its_run_went_long_before(self, store: Store) -> None:
        worker = await new_worker(store)
        old = await materialized(store, worker, "a")
        await self.advance(store, 100 * DAY)
        await prune(store)
        await materialized(store, worker, "a")

        await self.advance(store, 8 * DAY)
        await prune(store)

        assert await values(store, old) == []
        assert old in await kept(store, "a")

    async def test_what_an_io_manager_holds_is_named_no_longer(self, store: Store) -> None:
        worker = await new_worker(store)
        runs = []
        for _ in range(2):
            runs.append(await new_run(store, {"a": []}))
            claims = await worker.claim()
            await worker.settle(stored(claims["a"], "lake", '"place"'))
        await self.advance(store, 8 * DAY)

        assert (await prune(store)).values == 1

        outputs = [(await store.outputs(run.id, [key("a")]))[key("a")] for run in runs]
        assert [it.location for it in outputs] == [None, '"place"']

    async def test_what_was_replaced_just_now_is_spared(self, store: Store) -> None:
        worker = await new_worker(store)
        old = await materialized(store, worker, "a")
        await self.advance(store, 100 * DAY)
        await materialized(store, worker, "a")

        # Whoever has planned with the old one may write his run in a moment.
        await prune(store)
        run = await new_run(store, {"b": ["a"]}, reused={"a": old})
        (claim,) = (await worker.claim()).values()

        assert [it.value for it in claim.inputs] == ["1"]
        assert await is_kept(store, run.id)

    async def test_one_that_is_replaced_again_and_again_does_not_pile_up(
        self, store: Store
    ) -> None:
        worker = await new_worker(store)
        for _ in range(60):
            await materialized(store, worker, "a")
            await self.advance(store, DAY)
            await prune(store)
        await self.advance(store, DAY / 2)
        await prune(store)

        ids = await kept(store, "a")

        assert len(ids) == 29
        assert len(await values(store, *ids)) == 7

    async def test_what_a_kept_run_has_taken_stays_with_it(self, store: Store) -> None:
        worker = await new_worker(store)
        old = await materialized(store, worker, "a", '"taken"')
        run = await new_run(store, {"b": [], "c": ["a", "b"]}, reused={"a": old})
        claims = await worker.claim()
        await worker.settle(waited(claims["b"]))
        for _ in range(4):
            await self.advance(store, 100 * DAY)
            await materialized(store, worker, "a")
            await prune(store)

        assert await store.wake(run["b"], "null")
        await worker.settle(succeeded((await worker.claim())["b"]))
        (claim,) = (await worker.claim()).values()
        assert '"taken"' in [it.value for it in claim.inputs]
        await worker.settle(succeeded(claim))
        await self.advance(store, 20 * DAY)
        await prune(store)
        assert [it.materialization_id for it in await store.reused(run.id)] == [old]
        assert (await store.outputs(run.id, [key("a")]))[key("a")].materialization_id == old

        await materialized(store, worker, "c")
        await self.advance(store, 100 * DAY)
        await prune(store)
        assert old not in await kept(store, "a")
        assert await values(store, old) == []

    async def test_what_a_run_has_taken_and_not_loaded_goes_with_it(self, store: Store) -> None:
        worker = await new_worker(store)
        old = await materialized(store, worker, "a")
        run = await new_run(store, {"b": []}, reused={"a": old})
        claims = await worker.claim()
        await worker.settle(waited(claims["b"]))
        new = await materialized(store, worker, "a")
        await self.advance(store, 100 * DAY)
        await prune(store)
        before = await kept(store, "a")

        await store.wake(run["b"], "null")
        await finish(worker)
        await self.advance(store, 31 * DAY)
        await prune(store)

        assert before == [old, new]
        assert await kept(store, "a") == [new]
        assert await values(store, old, new) == [new]

    async def test_an_older_run_that_settles_late_lets_the_newer_one_go(self, store: Store) -> None:
        worker = await new_worker(store)
        late = await new_run(store, {"a": []})
        claims = await worker.claim()
        await worker.settle(waited(claims["a"]))
        newer = await materialized(store, worker, "a")
        await self.advance(store, 100 * DAY)
        await prune(store)
        assert newer in await kept(store, "a")

        await store.wake(late["a"], "null")
        await finish(worker)
        await self.advance(store, 31 * DAY)
        await prune(store)

        assert await kept(store, "a") == [late["a"]]
        assert await values(store, newer, late["a"]) == [late["a"]]
