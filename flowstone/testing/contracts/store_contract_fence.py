"""Nothing is settled by somebody who does not own it."""

from datetime import timedelta

import pytest

from flowstone.core.contracts.store import Claim, Settlement, Store, WorkerLostError
from flowstone.core.status import Event, RunStatus, Status
from flowstone.testing.contracts.store_runs import (
    SETTLEMENTS,
    Settle,
    SmallRun,
    Worker,
    failed,
    key,
    new_run,
    new_worker,
    retried,
    row,
    run_status,
    snoozed,
    statuses,
    stored,
    succeeded,
    waited,
)
from flowstone.testing.contracts.store_suite import StoreSuite

LEASE = timedelta(seconds=30)
LATE = timedelta(minutes=5)


class FenceContract(StoreSuite):
    """A settlement counts only under (worker, claim), and only once."""

    @pytest.mark.parametrize("event", SETTLEMENTS)
    async def test_another_workers_settlement_is_refused_whole(
        self, store: Store, event: Event
    ) -> None:
        owner, stranger = await new_worker(store), await new_worker(store)
        run = await new_run(store, {"a": [], "b": ["a"], "c": ["a?"]})
        claims = await owner.claim()
        before = await self._everything(store, run)

        refused = await stranger.settle(SETTLEMENTS[event](claims["a"]))

        assert refused == [run["a"]]
        assert await self._everything(store, run) == before

    @pytest.mark.parametrize("off_by", [-1, 1])
    @pytest.mark.parametrize("event", SETTLEMENTS)
    async def test_another_claims_settlement_is_refused_whole(
        self, store: Store, event: Event, off_by: int
    ) -> None:
        worker = await new_worker(store)
        run = await new_run(store, {"a": [], "b": ["a"], "c": ["a?"]})
        claims = await worker.claim()
        before = await self._everything(store, run)

        settlement = SETTLEMENTS[event](claims["a"])
        settlement.claim += off_by
        refused = await worker.settle(settlement)

        assert refused == [run["a"]]
        assert await self._everything(store, run) == before

    async def test_what_does_not_exist_is_refused(self, store: Store) -> None:
        worker = await new_worker(store)

        refused = await worker.settle(Settlement(999_999_999, 0, Event.SUCCEEDED, value="1"))

        assert refused == [999_999_999]

    async def test_what_was_never_claimed_is_refused(self, store: Store) -> None:
        worker = await new_worker(store)
        run = await new_run(store, {"a": [], "b": ["a"]})
        before = await self._everything(store, run)

        refused = await worker.settle(
            *(Settlement(id_, 0, Event.SUCCEEDED, value="1") for id_ in run.ids.values())
        )

        assert sorted(refused) == sorted(run.ids.values())
        assert await self._everything(store, run) == before

    @pytest.mark.parametrize("event", SETTLEMENTS)
    async def test_the_same_settlement_twice_in_one_batch_counts_once(
        self, store: Store, event: Event
    ) -> None:
        worker, twin_worker = await new_worker(store), await new_worker(store)
        twins = [await new_run(store, {"a": [], "b": [], "c": ["a", "b"]}) for _ in range(2)]
        (once,) = await worker.claims(1, run=twins[0])
        (twice,) = await twin_worker.claims(1, run=twins[1])

        await worker.settle(SETTLEMENTS[event](once))
        await twin_worker.settle(SETTLEMENTS[event](twice), SETTLEMENTS[event](twice))

        assert await statuses(store, twins[1]) == await statuses(store, twins[0])
        assert (await store.run(twins[1].id)).counts == (await store.run(twins[0].id)).counts
        assert (await row(store, twins[1], "a")).attempt == (
            await row(store, twins[0], "a")
        ).attempt

    @pytest.mark.parametrize("event", SETTLEMENTS)
    async def test_the_same_settlement_in_two_turns_counts_once(
        self, store: Store, event: Event
    ) -> None:
        worker = await new_worker(store)
        run = await new_run(store, {"a": [], "b": [], "c": ["a", "b"]})
        (claim,) = await worker.claims(1)
        await worker.settle(SETTLEMENTS[event](claim))
        before = await self._everything(store, run)

        refused = await worker.settle(SETTLEMENTS[event](claim))

        assert refused == [claim.id]
        assert await self._everything(store, run) == before

    @pytest.mark.parametrize("order", [1, -1])
    async def test_of_two_settlements_of_a_claim_in_a_batch_one_counts_whole(
        self, store: Store, order: int
    ) -> None:
        worker = await new_worker(store)
        run = await new_run(store, {"a": [], "b": ["a"]})
        claims = await worker.claim()

        batch = [succeeded(claims["a"], "1"), failed(claims["a"])]
        await worker.settle(*batch[::order])

        seen = await statuses(store, run)
        values = dict(await store.values([run["a"]]))
        assert (seen, values) in [
            ({"a": Status.SUCCEEDED, "b": Status.READY}, {run["a"]: "1"}),
            ({"a": Status.FAILED, "b": Status.UPSTREAM_FAILED}, {}),
        ]

    async def test_a_refused_settlement_does_not_harm_its_batch(self, store: Store) -> None:
        worker = await new_worker(store)
        run = await new_run(store, {"a": [], "b": [], "c": [], "d": ["a", "c"]})
        claims = await worker.claim()
        await worker.settle(retried(claims["b"], LATE))

        turn = await worker.turn(
            succeeded(claims["a"]), succeeded(claims["b"]), succeeded(claims["c"])
        )

        assert list(turn.refused) == [run["b"]]
        assert [claim.id for claim in turn.claims] == [run["d"]]
        assert (await statuses(store, run))["b"] is Status.READY

    @pytest.mark.parametrize("settle", [retried, snoozed, waited])
    async def test_an_earlier_claim_of_the_same_worker_is_void(
        self, store: Store, settle: Settle
    ) -> None:
        worker = await new_worker(store)
        run = await new_run(store, {"a": []})
        (earlier,) = await worker.claims()
        await worker.settle(settle(earlier))
        await store.wake(earlier.id, "1")
        (later,) = await worker.claims()

        refused = await worker.settle(succeeded(earlier, '"early"'))
        accepted = await worker.settle(succeeded(later, '"late"'))

        assert (refused, accepted) == ([run["a"]], [])
        assert dict(await store.values([run["a"]])) == {run["a"]: '"late"'}

    async def _everything(self, store: Store, run: SmallRun) -> list[object]:
        current, _ = await store.current([key(name) for name in run.ids])
        return [
            await store.materializations(run.id),
            await store.run(run.id),
            dict(await store.values(list(run.ids.values()))),
            dict(current),
        ]


class LateWorkerContract(StoreSuite):
    """A worker that was given up does not know it yet."""

    async def test_it_can_neither_settle_nor_claim(self, store: Store) -> None:
        late, claim, run = await self._given_up(store)
        await new_run(store, {"x": []})

        with pytest.raises(WorkerLostError):
            await late.turn(succeeded(claim))

        assert await store.values([run["a"]]) == {}
        assert sorted(await (await new_worker(store)).claim()) == ["a", "x"]

    async def test_its_registration_is_gone(self, store: Store) -> None:
        late, _, _ = await self._given_up(store)

        assert not await late.beat()
        assert list(await store.owned(late.id)) == []
        assert list(await store.aborts(late.id)) == []

    async def test_registering_again_does_not_bring_the_claim_back(self, store: Store) -> None:
        _, claim, run = await self._given_up(store)
        again = await new_worker(store)

        refused = await again.settle(succeeded(claim, '"late"'))

        assert refused == [run["a"]]
        assert (await statuses(store, run))["a"] is Status.READY

    @pytest.mark.parametrize("order", ["late first", "late last"])
    async def test_only_the_new_owner_writes(self, store: Store, order: str) -> None:
        _, claim, run = await self._given_up(store)
        again, owner = await new_worker(store), await new_worker(store)
        (owned,) = await owner.claims()

        if order == "late last":
            await owner.settle(succeeded(owned, '"owner"'))
        refused = await again.settle(stored(claim, "lake", '"late"'))
        if order == "late first":
            await owner.settle(succeeded(owned, '"owner"'))

        current, _ = await store.current([key("a")])
        assert refused == [run["a"]]
        assert dict(await store.values([run["a"]])) == {run["a"]: '"owner"'}
        assert (current[key("a")].io, current[key("a")].location) == (None, None)
        assert [claim.id for claim in await owner.claims()] == [run["b"]]

    async def test_even_the_owner_cannot_use_the_late_claim(self, store: Store) -> None:
        _, claim, run = await self._given_up(store)
        owner = await new_worker(store)
        (owned,) = await owner.claims()

        await owner.settle(succeeded(claim, '"late"'), succeeded(owned, '"owner"'))

        assert dict(await store.values([run["a"]])) == {run["a"]: '"owner"'}
        assert await run_status(store, run) is RunStatus.RUNNING

    async def _given_up(self, store: Store) -> tuple[Worker, Claim, SmallRun]:
        late = await new_worker(store)
        run = await new_run(store, {"a": [], "b": ["a"]})
        (claim,) = await late.claims()
        await self.advance(store, LATE)
        await store.rescue(max_rescues=3)
        return late, claim, run


class OwnershipContract(StoreSuite):
    """A worker can ask what it owns."""

    async def test_a_new_worker_owns_nothing(self, store: Store) -> None:
        worker = await new_worker(store)

        assert list(await store.owned(worker.id)) == []

    async def test_workers_have_ids_of_their_own(self, store: Store) -> None:
        ids = [(await new_worker(store)).id for _ in range(3)]

        assert len(set(ids)) == 3

    async def test_a_worker_owns_what_it_claimed_and_did_not_settle(self, store: Store) -> None:
        one, two = await new_worker(store), await new_worker(store)
        await new_run(store, {name: [] for name in "abcdefg"})
        claims = await one.claim(6)
        await two.claim()

        await one.settle(
            succeeded(claims["a"]),
            retried(claims["b"]),
            snoozed(claims["c"], LATE),
            waited(claims["d"]),
        )

        assert sorted(await store.owned(one.id)) == [
            (claims[name].id, claims[name].claim) for name in "ef"
        ]

    async def test_what_is_owned_can_be_handed_back_unseen(self, store: Store) -> None:
        worker = await new_worker(store)
        await new_run(store, {"a": [], "b": []})
        await worker.claims()

        refused = await worker.settle(
            *(
                Settlement(id_, claim, Event.HANDED_BACK)
                for id_, claim in await store.owned(worker.id)
            )
        )

        assert refused == []
        assert [claim.attempt for claim in await worker.claims()] == [1, 1]
