"""Leases: one holder at a time, replaced when it does not renew."""

import asyncio
from datetime import timedelta

from flowstone.core.contracts.store import Store
from flowstone.testing.contracts.store_suite import StoreSuite

LEASE = timedelta(seconds=30)
BEFORE = timedelta(seconds=20)


class LeaseContract(StoreSuite):
    """Of all who ask for a lease one has it, for as long as it renews it in time."""

    async def test_of_many_who_ask_at_once_one_gets_it(self, store: Store) -> None:
        for _ in range(10):
            names = [f"host/{number}" for number in range(8)]

            held = await asyncio.gather(*(store.hold_lease("sweep", it, LEASE) for it in names))

            assert sum(held) == 1
            await store.give_up_lease("sweep", names[held.index(True)])

    async def test_its_holder_renews_it(self, store: Store) -> None:
        assert await store.hold_lease("sweep", "a", LEASE)

        for _ in range(3):
            await self.advance(store, BEFORE)

            assert await store.hold_lease("sweep", "a", LEASE)
            assert not await store.hold_lease("sweep", "b", LEASE)

    async def test_who_does_not_renew_is_replaced(self, store: Store) -> None:
        await store.hold_lease("sweep", "a", LEASE)
        await self.advance(store, LEASE)

        assert await store.hold_lease("sweep", "b", LEASE)
        assert not await store.hold_lease("sweep", "a", LEASE)

    async def test_who_was_replaced_takes_nothing_away_by_giving_up(self, store: Store) -> None:
        await store.hold_lease("sweep", "a", LEASE)
        await self.advance(store, LEASE)
        await store.hold_lease("sweep", "b", LEASE)

        await store.give_up_lease("sweep", "a")

        assert not await store.hold_lease("sweep", "a", LEASE)

    async def test_what_was_given_up_is_free_at_once(self, store: Store) -> None:
        await store.hold_lease("sweep", "a", LEASE)

        await store.give_up_lease("sweep", "a")
        await store.give_up_lease("sweep", "a")

        assert await store.hold_lease("sweep", "b", LEASE)

    async def test_leases_of_other_names_are_apart(self, store: Store) -> None:
        assert await store.hold_lease("sweep", "a", LEASE)

        assert await store.hold_lease("plan", "b", LEASE)
