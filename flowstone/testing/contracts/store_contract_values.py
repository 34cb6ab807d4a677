"""The current value of a key, what it was made from, and how it becomes stale."""

from datetime import UTC

import pytest

from flowstone.core.contracts.store import Claim, Key, Store
from flowstone.testing.contracts.store_runs import (
    SmallRun,
    Worker,
    failed,
    key,
    materialized,
    new_run,
    new_worker,
    now,
    stored,
    succeeded,
)
from flowstone.testing.contracts.store_suite import StoreSuite


class CurrentContract(StoreSuite):
    """Which value is the current one."""

    async def test_a_success_makes_its_value_current(self, store: Store) -> None:
        worker = await new_worker(store)
        before = await now(store)
        run = await new_run(store, {"a": []})
        claims = await worker.claim()

        await worker.settle(succeeded(claims["a"], version="v7"))

        value = (await store.current([key("a")]))[0][key("a")]
        assert value.materialization_id == run["a"]
        assert (value.io, value.location) == (None, None)
        assert value.version == "v7"
        assert value.upstreams == ()
        assert value.materialized_at.astimezone(UTC) >= before
        assert not value.invalidated

    async def test_a_location_is_current_too(self, store: Store) -> None:
        worker = await new_worker(store)
        await new_run(store, {"a": []})
        claims = await worker.claim()

        await worker.settle(stored(claims["a"], "lake", '{"path": 1}'))

        value = (await store.current([key("a")]))[0][key("a")]
        assert (value.io, value.location) == ("lake", '{"path": 1}')

    async def test_a_failure_leaves_the_earlier_value_current(self, store: Store) -> None:
        worker = await new_worker(store)
        id_ = await materialized(store, worker, "a")
        await new_run(store, {"a": []})
        claims = await worker.claim()

        await worker.settle(failed(claims["a"]))

        assert await self._current_id(store, key("a")) == id_

    async def test_partitions_have_values_of_their_own(self, store: Store) -> None:
        worker = await new_worker(store)
        one = await new_run(store, {"a": []}, partition="d:2024-01-01")
        two = await new_run(store, {"a": []}, partition="d:2024-01-02")
        for claim in await worker.claims():
            await worker.settle(succeeded(claim))

        assert await self._current_id(store, key("a", "d:2024-01-01")) == one["a"]
        assert await self._current_id(store, key("a", "d:2024-01-02")) == two["a"]
        assert await self._current_id(store, key("a")) is None

    async def test_the_upstreams_are_all_that_came_first_with_or_without_a_value(
        self, store: Store
    ) -> None:
        worker = await new_worker(store)
        reused = await materialized(store, worker, "r")
        run = await new_run(
            store,
            {"a": [], "b": [], "c": [], "d": ["a", ">b", "c?", "r"]},
            reused={"r": reused},
        )
        claims = await worker.claim()
        turn = await worker.turn(
            succeeded(claims["a"]), succeeded(claims["b"]), failed(claims["c"])
        )
        await worker.settle(succeeded(turn.claims[0]))

        value = (await store.current([key("d")]))[0][key("d")]

        assert {*value.upstreams} == {run["a"], run["b"], run["c"], reused}

    async def test_the_later_settlement_of_a_key_is_current(self, store: Store) -> None:
        worker, older, newer = await self._two_runs(store)

        await worker.settle(succeeded(newer, '"newer"'))
        await worker.settle(succeeded(older, '"older"'))

        assert await self._current_id(store, key("a")) == older.id
        assert dict(await store.values([older.id, newer.id])) == {
            older.id: '"older"',
            newer.id: '"newer"',
        }

    @pytest.mark.parametrize("order", [1, -1])
    async def test_within_a_batch_the_higher_id_is_current(self, store: Store, order: int) -> None:
        worker, older, newer = await self._two_runs(store)

        batch = [succeeded(older, '"older"'), succeeded(newer, '"newer"')]
        refused = await worker.settle(*batch[::order])

        assert refused == []
        assert await self._current_id(store, key("a")) == newer.id
        assert dict(await store.values([older.id, newer.id])) == {
            older.id: '"older"',
            newer.id: '"newer"',
        }

    async def test_a_new_value_is_not_stale(self, store: Store) -> None:
        worker = await new_worker(store)
        await materialized(store, worker, "a")
        await store.invalidate([key("a")], downstream=False)

        await materialized(store, worker, "a")

        assert not (await store.current([key("a")]))[0][key("a")].invalidated

    async def _two_runs(self, store: Store) -> tuple[Worker, Claim, Claim]:
        worker = await new_worker(store)
        await new_run(store, {"a": []})
        await new_run(store, {"a": []})
        older, newer = sorted(await worker.claims(), key=lambda claim: claim.id)
        return worker, older, newer

    async def _current_id(self, store: Store, wanted: Key) -> int | None:
        current, _ = await store.current([wanted])
        return current[wanted].materialization_id if wanted in current else None


class InvalidateContract(StoreSuite):
    """Declaring values stale."""

    async def test_a_stale_value_says_so(self, store: Store) -> None:
        worker = await new_worker(store)
        id_ = await materialized(store, worker, "a")

        count = await store.invalidate([key("a")], downstream=False)

        value = (await store.current([key("a")]))[0][key("a")]
        assert count == 1
        assert value.invalidated
        assert value.materialization_id == id_

    async def test_repeating_it_counts_nothing(self, store: Store) -> None:
        worker = await new_worker(store)
        await materialized(store, worker, "a")
        await materialized(store, worker, "b")
        await store.invalidate([key("a")], downstream=False)

        assert await store.invalidate([key("a"), key("b"), key("b")], downstream=True) == 1
        assert await store.invalidate([key("a"), key("b")], downstream=True) == 0

    async def test_what_has_no_value_counts_nothing(self, store: Store) -> None:
        await new_run(store, {"a": []})

        assert await store.invalidate([key("a"), key("b")], downstream=True) == 0
        assert await store.invalidate([], downstream=True) == 0

    async def test_partitions_are_stale_each_for_itself(self, store: Store) -> None:
        worker = await new_worker(store)
        await materialized(store, worker, "a")

        assert await store.invalidate([key("a", "eu")], downstream=True) == 0
        assert await stale(store, "a") == []

    async def test_alone_it_leaves_what_was_made_from_it(self, store: Store) -> None:
        await self._graph(store)

        count = await store.invalidate([key("a")], downstream=False)

        assert count == 1
        assert await stale(store, *"abcdx") == ["a"]

    async def test_downstream_reaches_all_that_was_made_from_it(self, store: Store) -> None:
        await self._graph(store)

        count = await store.invalidate([key("b")], downstream=True)

        assert count == 3
        assert await stale(store, *"abcdx") == ["b", "c", "d"]

    async def test_downstream_counts_what_was_not_stale_before(self, store: Store) -> None:
        await self._graph(store)
        await store.invalidate([key("c")], downstream=False)

        assert await store.invalidate([key("a"), key("x")], downstream=True) == 4
        assert await stale(store, *"abcdx") == ["a", "b", "c", "d", "x"]

    async def test_downstream_goes_on_behind_what_is_stale_already(self, store: Store) -> None:
        await self._graph(store)
        await store.invalidate([key("a"), key("b")], downstream=False)

        assert await store.invalidate([key("a")], downstream=True) == 2

    async def test_downstream_crosses_runs(self, store: Store) -> None:
        worker, run = await self._graph(store)
        later = await new_run(store, {"e": ["d"]}, reused={"d": run["d"]})
        await worker.settle(*map(succeeded, await worker.claims(run=later)))

        assert await store.invalidate([key("a")], downstream=True) == 5
        assert await stale(store, *"abcdex") == ["a", "b", "c", "d", "e"]

    async def test_what_only_came_after_it_is_left(self, store: Store) -> None:
        worker = await new_worker(store)
        await new_run(store, {"a": [], "b": [">a"]})
        turn = await worker.turn(succeeded((await worker.claim())["a"]))
        await worker.settle(succeeded(turn.claims[0]))

        assert await store.invalidate([key("a")], downstream=True) == 1
        assert await stale(store, *"ab") == ["a"]

    async def test_downstream_leads_through_values_that_are_not_current_any_more(
        self, store: Store
    ) -> None:
        worker, _ = await self._graph(store)
        await materialized(store, worker, "b")

        assert await store.invalidate([key("a")], downstream=True) == 3
        assert await stale(store, *"abcdx") == ["a", "c", "d"]

    async def test_what_was_made_from_an_earlier_value_is_left(self, store: Store) -> None:
        worker, _ = await self._graph(store)
        await materialized(store, worker, "a")

        count = await store.invalidate([key("a")], downstream=True)

        assert count == 1
        assert await stale(store, *"abcdx") == ["a"]

    async def test_a_newer_value_made_from_elsewhere_is_left(self, store: Store) -> None:
        worker, _ = await self._graph(store)
        await materialized(store, worker, "d")

        assert await store.invalidate([key("a")], downstream=True) == 3
        assert await stale(store, *"abcdx") == ["a", "b", "c"]

    async def test_only_values_of_the_io_manager_are_meant(self, store: Store) -> None:
        worker = await new_worker(store)
        run = await new_run(store, {"lake": [], "shelf": [], "own": [], "made": ["lake"]})
        claims = await worker.claim()
        turn = await worker.turn(
            stored(claims["lake"], "lake", '"1"'),
            stored(claims["shelf"], "shelf", '"2"'),
            succeeded(claims["own"]),
        )
        await worker.settle(succeeded(turn.claims[0]))

        keys = [key(name) for name in run.ids]
        count = await store.invalidate(keys, downstream=False, io="lake")

        assert count == 1
        assert await stale(store, *run.ids) == ["lake"]

    async def test_downstream_of_an_io_managers_values_are_all_values(self, store: Store) -> None:
        worker = await new_worker(store)
        await new_run(store, {"a": [], "b": ["a"]})
        turn = await worker.turn(stored((await worker.claim())["a"], "lake", '"1"'))
        await worker.settle(succeeded(turn.claims[0]))

        assert await store.invalidate([key("a")], downstream=True, io="shelf") == 0
        assert await store.invalidate([key("a")], downstream=True, io="lake") == 2

    async def _graph(self, store: Store) -> tuple[Worker, SmallRun]:
        """Materialize a → b → c → d, where d also comes after b, and x apart."""
        worker = await new_worker(store)
        run = await new_run(store, {"a": [], "b": ["a"], "c": ["b"], "d": [">b", "c?"], "x": []})
        claims = await worker.claims()
        while claims:
            claims = list((await worker.turn(*map(succeeded, claims))).claims)
        return worker, run


class LineageContract(StoreSuite):
    """What a value was made from, and what was made from it."""

    async def test_neighbors_are_found_in_both_directions(self, store: Store) -> None:
        worker = await new_worker(store)
        plan = {"a": [], "x": [], "b": ["a", ">x"], "c": ["b"], "d": ["b?"], "e": [">b"]}
        await new_run(store, plan)
        claims = await worker.claims()
        while claims:
            claims = list((await worker.turn(*map(succeeded, claims))).claims)

        upstream, downstream = await store.lineage(key("b"))

        assert sorted(upstream) == [key("a")]
        assert sorted(downstream) == [key("c"), key("d")]

    async def test_what_has_no_value_has_no_lineage(self, store: Store) -> None:
        await new_run(store, {"a": [], "b": ["a"]})

        upstream, downstream = await store.lineage(key("b"))

        assert (list(upstream), list(downstream)) == ([], [])

    async def test_what_has_a_newer_value_from_elsewhere_is_not_made_from_it(
        self, store: Store
    ) -> None:
        worker = await new_worker(store)
        await new_run(store, {"a": [], "b": ["a"]})
        turn = await worker.turn(succeeded((await worker.claim())["a"]))
        await worker.settle(succeeded(turn.claims[0]))
        await materialized(store, worker, "b")

        assert [list(side) for side in await store.lineage(key("a"))] == [[], []]
        assert [list(side) for side in await store.lineage(key("b"))] == [[], []]

    async def test_what_was_made_from_an_earlier_value_is_not_made_from_it(
        self, store: Store
    ) -> None:
        worker = await new_worker(store)
        await new_run(store, {"a": [], "b": ["a"]})
        turn = await worker.turn(succeeded((await worker.claim())["a"]))
        await worker.settle(succeeded(turn.claims[0]))
        await materialized(store, worker, "a")

        assert [list(side) for side in await store.lineage(key("a"))] == [[], []]
        assert [list(side) for side in await store.lineage(key("b"))] == [[key("a")], []]


async def stale(store: Store, *names: str) -> list[str]:
    """Return the names whose current values are stale."""
    current, _ = await store.current([key(name) for name in names])
    return [name for name in names if key(name) in current and current[key(name)].invalidated]
