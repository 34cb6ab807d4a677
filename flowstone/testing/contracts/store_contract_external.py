"""What a store says about values that IO managers hold: which of them count."""

import re
from datetime import timedelta

import pytest

from flowstone.core.contracts.store import Store
from flowstone.core.status import Event
from flowstone.testing.contracts.store_runs import (
    SETTLEMENTS,
    new_run,
    new_worker,
    retried,
    stored,
)
from flowstone.testing.contracts.store_suite import StoreSuite

LEASE = timedelta(seconds=30)


class ExternalValuesContract(StoreSuite):
    """A sweep deletes what is not kept, so what is kept has to be all that counts or may yet."""

    async def test_the_origin_is_short_and_stays(self, store: Store) -> None:
        origin = await store.origin()

        assert re.fullmatch("[a-z0-9]{6,20}", origin)
        assert await store.origin() == origin

    async def test_what_runs_is_kept_under_its_claim_only(self, store: Store) -> None:
        worker = await new_worker(store)
        await new_run(store, {"a": []})
        (claim,) = await worker.claims(1)

        asked = [(claim.id, claim.claim + off_by) for off_by in (-1, 0, 1)]
        assert await store.kept(asked) == {(claim.id, claim.claim)}

    async def test_what_was_stored_is_kept_under_its_claim_only(self, store: Store) -> None:
        worker = await new_worker(store)
        await new_run(store, {"a": []})
        (early,) = await worker.claims(1)
        await worker.settle(retried(early))
        (claim,) = await worker.claims(1)

        await worker.settle(stored(claim, "lake", '{"path": 1}'))

        asked = [(claim.id, early.claim), (claim.id, claim.claim)]
        assert await store.kept(asked) == {(claim.id, claim.claim)}

    @pytest.mark.parametrize("event", SETTLEMENTS)
    async def test_whatever_else_became_of_it_it_is_not_kept_for_an_io_manager(
        self, store: Store, event: Event
    ) -> None:
        worker = await new_worker(store)
        await new_run(store, {"a": []})
        (claim,) = await worker.claims(1)

        await worker.settle(SETTLEMENTS[event](claim))

        assert await store.kept([(claim.id, claim.claim)]) == set()

    async def test_what_was_taken_over_is_not_kept(self, store: Store) -> None:
        dead, other = await new_worker(store), await new_worker(store)
        await new_run(store, {"a": []})
        (early,) = await dead.claims(1)
        await self.advance(store, LEASE)
        await store.heartbeat(other.id)
        await store.rescue(max_rescues=5)

        between = await store.kept([(early.id, early.claim)])
        (late,) = await other.claims(1)

        assert between == set()
        asked = [(it.id, it.claim) for it in (early, late)]
        assert await store.kept(asked) == {(late.id, late.claim)}

    async def test_a_superseded_value_is_kept_for_the_runs_that_have_it(self, store: Store) -> None:
        worker = await new_worker(store)
        claims = []
        for _ in range(2):
            await new_run(store, {"a": []})
            claims += await worker.claims(1)
            await worker.settle(stored(claims[-1], "lake", "1"))

        asked = {(it.id, it.claim) for it in claims}
        assert await store.kept(sorted(asked)) == asked

    async def test_an_id_that_was_never_given_out_is_nobodys_business(self, store: Store) -> None:
        _, ids = await store.current([], reserve=2)

        asked = [(ids[-1], 0), (ids[-1] + 1, 0), (ids[-1] + 1_000, 3)]
        assert await store.kept(asked) == set(asked[1:])

    async def test_nothing_asked_nothing_kept(self, store: Store) -> None:
        assert await store.kept([]) == set()
