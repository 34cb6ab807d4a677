"""Further claims of one materialization."""

from datetime import timedelta

from flowstone.core.contracts.store import Claim, Store
from flowstone.core.status import RunStatus
from flowstone.testing.contracts.store_runs import (
    SmallRun,
    Worker,
    new_run,
    new_worker,
    run_status,
    skipped,
    statuses,
    succeeded,
    waited,
)
from flowstone.testing.contracts.store_suite import StoreSuite

LEASE = timedelta(seconds=30)


async def alone(store: Store) -> tuple[Worker, SmallRun, Claim]:
    """Return a run of one materialization, which is claimed."""
    worker, run = await new_worker(store), await new_run(store, {"a": []})
    (claim,) = await worker.claims()
    return worker, run, claim


class AssistantsContract(StoreSuite):
    """They are claimed like anything else, and nobody is shown them."""

    async def test_they_are_claimed_with_what_they_were_added_with(self, store: Store) -> None:
        worker, run, claim = await alone(store)
        ids = await store.add_assistants(claim.id, ['{"n": 1}', '{"n": 2}'])

        [one] = await worker.claims(run=run, slots=1)
        [other] = await worker.claims(slots=1)

        assert [one.id, other.id] == list(ids)
        assert {one.assists, other.assists} == {claim.id}
        assert (one.arguments, one.asset, one.partition) == ('{"n": 1}', claim.asset, "")
        assert one.run_id == run.id

    async def test_nobody_is_shown_them(self, store: Store) -> None:
        _, run, claim = await alone(store)
        await store.add_assistants(claim.id, ["{}"])

        assert len(await statuses(store, run)) == 1
        assert sum((await store.run(run.id)).counts.values()) == 1
        assert len((await store.progress(run.id)).changed) == 1

    async def test_the_run_ends_with_the_last_of_them(self, store: Store) -> None:
        worker, run, claim = await alone(store)
        await store.add_assistants(claim.id, ["{}"])
        [assistant] = await worker.claims()

        await worker.settle(succeeded(claim))
        before = await run_status(store, run)
        await worker.settle(skipped(assistant))

        assert before is RunStatus.RUNNING
        assert await run_status(store, run) is RunStatus.SUCCEEDED

    async def test_those_that_nobody_has_are_dismissed(self, store: Store) -> None:
        worker, run, claim = await alone(store)
        await store.add_assistants(claim.id, ["{}", "{}"])
        [claimed] = await worker.claims(slots=1)

        assert await store.dismiss_assistants(claim.id) == 1
        assert await worker.claims() == []
        await worker.settle(succeeded(claim), skipped(claimed))

        assert await run_status(store, run) is RunStatus.SUCCEEDED

    async def test_none_are_added_to_what_has_ended_or_is_cancelled(self, store: Store) -> None:
        worker, run, claim = await alone(store)
        await store.cancel_run(run.id)

        assert list(await store.add_assistants(claim.id, ["{}"])) == []
        await worker.settle(succeeded(claim))
        assert list(await store.add_assistants(claim.id, ["{}"])) == []

    async def test_a_death_is_not_held_against_them(self, store: Store) -> None:
        worker, _, claim = await alone(store)
        await worker.settle(waited(claim))
        [id_] = await store.add_assistants(claim.id, ["{}"])

        for _ in range(3):
            other = await new_worker(store, lease=LEASE)
            [again] = await other.claims()
            assert (again.id, again.rescues) == (id_, 0)
            await self.advance(store, 2 * LEASE)
            await store.rescue(max_rescues=1)
