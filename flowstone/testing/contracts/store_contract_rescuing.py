"""Workers that die, and what is held against what they were at."""

from datetime import timedelta

import pytest

from flowstone.core.contracts.store import SUSPECT_AFTER, Claim, Store
from flowstone.core.status import RunStatus, Status
from flowstone.testing.contracts.store_runs import (
    SmallRun,
    Worker,
    new_run,
    new_worker,
    row,
    run_status,
    statuses,
    succeeded,
)
from flowstone.testing.contracts.store_suite import StoreSuite

HOUR = timedelta(hours=1)
LEASE = timedelta(seconds=30)


class RescueContract(StoreSuite):
    """What a dead worker owned goes to the living."""

    async def test_a_worker_that_beats_keeps_its_work(self, store: Store) -> None:
        worker, _, claim = await self._working(store)
        await self.advance(store, timedelta(seconds=20))
        is_alive = await worker.beat()
        await self.advance(store, timedelta(seconds=20))

        rescued = await store.rescue(max_rescues=3)

        assert is_alive
        assert list(rescued) == []
        assert await worker.settle(succeeded(claim)) == []

    async def test_to_register_is_to_beat(self, store: Store) -> None:
        await self._working(store)
        await self.advance(store, timedelta(seconds=20))

        assert list(await store.rescue(max_rescues=3)) == []

    async def test_a_worker_that_does_not_beat_loses_its_work(self, store: Store) -> None:
        worker, run, _ = await self._working(store)
        await self.advance(store, timedelta(seconds=40))

        rescued = await store.rescue(max_rescues=3)

        assert [(each.worker_id, list(each.materialization_ids)) for each in rescued] == [
            (worker.id, [run["a"]])
        ]
        assert await statuses(store, run) == {"a": Status.READY, "b": Status.PENDING}

    async def test_only_the_dead_lose_their_work(self, store: Store) -> None:
        dead, _, _ = await self._working(store)
        living = await new_worker(store)
        other = await new_run(store, {"x": []})
        await living.claims()
        await self.advance(store, timedelta(seconds=40))
        await living.beat()

        rescued = await store.rescue(max_rescues=3)

        assert [each.worker_id for each in rescued] == [dead.id]
        assert await statuses(store, other) == {"x": Status.RUNNING}

    async def test_who_rescues_does_not_take_itself_for_dead(self, store: Store) -> None:
        late, run, claim = await self._working(store)
        dead, _, _ = await self._working(store)
        await self.advance(store, HOUR)

        rescued = await store.rescue(max_rescues=3, rescuer=late.id)

        assert [each.worker_id for each in rescued] == [dead.id]
        assert await late.settle(succeeded(claim)) == []
        assert (await statuses(store, run))["a"] is Status.SUCCEEDED

    async def test_each_worker_may_be_silent_for_as_long_as_it_said(self, store: Store) -> None:
        hasty = await new_worker(store, lease=timedelta(seconds=5))
        patient = await new_worker(store, lease=timedelta(seconds=25))
        for worker in (hasty, patient):
            await new_run(store, {"x": []})
            await worker.claims()
        await self.advance(store, timedelta(seconds=15))

        rescued = await store.rescue(max_rescues=3)

        assert [each.worker_id for each in rescued] == [hasty.id]
        assert await patient.beat()

    async def test_what_is_rescued_is_a_further_attempt_under_a_new_claim(
        self, store: Store
    ) -> None:
        _, run, claim = await self._working(store)
        await self.advance(store, HOUR)
        await store.rescue(max_rescues=3)

        (again,) = await (await new_worker(store)).claims()

        assert again.id == run["a"]
        assert again.claim > claim.claim
        assert again.attempt == 2
        assert again.wake is None

    async def test_rescuing_again_finds_nothing(self, store: Store) -> None:
        await self._working(store)
        await self.advance(store, HOUR)
        await store.rescue(max_rescues=3)

        assert list(await store.rescue(max_rescues=3)) == []

    async def test_what_was_settled_in_time_is_not_rescued(self, store: Store) -> None:
        worker, run, claim = await self._working(store)
        await worker.settle(succeeded(claim))
        await self.advance(store, HOUR)

        rescued = await store.rescue(max_rescues=3)

        assert [id_ for each in rescued for id_ in each.materialization_ids] == []
        assert await statuses(store, run) == {"a": Status.SUCCEEDED, "b": Status.READY}

    @pytest.mark.parametrize("max_rescues", [0, 1, 3])
    async def test_what_kills_its_workers_fails_at_last(
        self, store: Store, max_rescues: int
    ) -> None:
        run = await new_run(store, {"a": [], "b": ["a"]})

        seen = []
        for _ in range(max_rescues + 1):
            worker = await new_worker(store)
            await worker.claims()
            await store.suspect(worker.id, run["a"])
            await self.advance(store, HOUR)
            await store.rescue(max_rescues=max_rescues)
            seen.append((await statuses(store, run))["a"])

        assert seen == [*[Status.READY] * max_rescues, Status.FAILED]
        assert await statuses(store, run) == {"a": Status.FAILED, "b": Status.UPSTREAM_FAILED}
        assert (await row(store, run, "a")).error is not None
        assert await run_status(store, run) is RunStatus.FAILED

    async def test_a_claim_tells_how_many_deaths_are_held_against_it(self, store: Store) -> None:
        await new_run(store, {"a": []})

        told = []
        for _ in range(SUSPECT_AFTER + 1):
            (claim,) = await (await new_worker(store)).claims()
            told.append((claim.rescues, claim.is_suspect))
            await self.advance(store, HOUR)
            await store.rescue(max_rescues=9)

        assert told == [(0, False), (1, False), (2, True)]

    async def test_of_several_suspects_only_the_one_that_was_begun_pays(self, store: Store) -> None:
        run = await new_run(store, {"a": [], "b": [], "c": []})
        for _ in range(SUSPECT_AFTER):
            await self._die(store)

        seen = [await self._die(store, begun=run["b"]) for _ in range(2)]

        assert seen == [{"a": 2, "b": 2, "c": 2}, {"a": 2, "b": 3, "c": 2}]
        assert await statuses(store, run) == {
            "a": Status.READY,
            "b": Status.FAILED,
            "c": Status.READY,
        }

    async def test_who_is_no_suspect_pays_beside_one(self, store: Store) -> None:
        run = await new_run(store, {"a": []})
        for _ in range(SUSPECT_AFTER):
            await self._die(store)
        await new_run(store, {"b": []})
        await self._die(store, begun=run["a"])

        rescues = await self._die(store)

        assert rescues == {"a": 3, "b": 1}

    async def test_a_suspect_that_was_not_begun_does_not_pay_for_another_worker(
        self, store: Store
    ) -> None:
        run = await new_run(store, {"a": []})
        for _ in range(SUSPECT_AFTER):
            await self._die(store)
        other = await new_worker(store)
        await store.suspect(other.id, run["a"])

        await self._die(store)

        assert await self._die(store) == {"a": 2}

    async def test_a_worker_that_is_gone_may_name_anything(self, store: Store) -> None:
        run = await new_run(store, {"a": []})

        await store.suspect(999_999_999, run["a"])

        assert await statuses(store, run) == {"a": Status.READY}

    async def _die(self, store: Store, *, begun: int | None = None) -> dict[str, int]:
        """Let a new worker claim everything and die; return the deaths held against it before."""
        worker = await new_worker(store)
        claims = await worker.claim()
        if begun is not None:
            await store.suspect(worker.id, begun)
        await self.advance(store, HOUR)
        await store.rescue(max_rescues=3)
        return {name: claim.rescues for name, claim in sorted(claims.items())}

    async def test_an_unknown_worker_is_told_so(self, store: Store) -> None:
        assert not await store.heartbeat(999_999_999)
        assert list(await store.aborts(999_999_999)) == []

    async def _working(self, store: Store) -> tuple[Worker, SmallRun, Claim]:
        worker = await new_worker(store)
        run = await new_run(store, {"a": [], "b": ["a"]})
        (claim,) = await worker.claims()
        return worker, run, claim
