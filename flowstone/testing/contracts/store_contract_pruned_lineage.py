"""What something kept was made from stays known, however old; then it goes too."""

import pytest

from flowstone.core.contracts.store import Store
from flowstone.testing.contracts.store_contract_pruning import (
    DAY,
    Plan,
    finish,
    kept,
    prune,
    values,
)
from flowstone.testing.contracts.store_runs import (
    Worker,
    key,
    materialized,
    new_run,
    new_worker,
)
from flowstone.testing.contracts.store_suite import StoreSuite


class PruningLineageContract(StoreSuite):
    """What something kept was made from can be told, however old."""

    async def made(self, store: Store) -> tuple[Worker, dict[str, int]]:
        """Make c from b from a, replace b, let a year pass, and prune."""
        worker = await new_worker(store)
        run = await new_run(store, {"a": [], "b": ["a"], "c": ["b"]})
        await finish(worker)
        newer = await materialized(store, worker, "b")
        await self.advance(store, 365 * DAY)
        await prune(store)
        return worker, {**run.ids, "newer": newer}

    async def test_what_a_current_value_was_made_from_is_known(self, store: Store) -> None:
        _, ids = await self.made(store)

        assert await kept(store, "b") == [ids["b"], ids["newer"]]
        assert await store.lineage(key("c")) == ([key("b")], [])
        assert await values(store, ids["b"]) == []

    async def test_invalidation_reaches_what_was_made_through_it(self, store: Store) -> None:
        await self.made(store)

        assert await store.invalidate([key("a")], downstream=True) == 2

        found, _ = await store.current([key("a"), key("b"), key("c")])
        assert [found[key(name)].invalidated for name in "abc"] == [True, False, True]

    async def test_it_goes_with_the_last_that_was_made_from_it(self, store: Store) -> None:
        worker, ids = await self.made(store)
        again = await materialized(store, worker, "c")
        await self.advance(store, 31 * DAY)

        await prune(store)

        assert await kept(store, "c") == [again]
        assert await kept(store, "b") == [ids["newer"]]
        assert await kept(store, "a") == [ids["a"]]

    @pytest.mark.parametrize("limit", [2, 1000])
    async def test_a_long_chain_goes_whole(self, store: Store, limit: int) -> None:
        worker = await new_worker(store)
        names = [f"n{number:02}" for number in range(15)]
        plan: Plan = {
            name: names[place - 1 : place] if place else [] for place, name in enumerate(names)
        }
        for _ in range(2):
            run = await new_run(store, plan)
            await finish(worker)
        await self.advance(store, 31 * DAY)

        assert (await prune(store, limit=limit)).materializations == 15

        for name in names:
            assert await kept(store, name) == [run[name]]
