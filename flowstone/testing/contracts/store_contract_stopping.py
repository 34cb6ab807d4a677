"""Cancelled runs, lost workers, workers that leave."""

from datetime import timedelta

import pytest

from flowstone.core.contracts.store import SUSPECT_AFTER, Claim, Store, WorkerLostError
from flowstone.core.errors import RunNotFoundError
from flowstone.core.status import RunStatus, Status
from flowstone.testing.contracts.store_runs import (
    Settle,
    SmallRun,
    Worker,
    failed,
    handed_back,
    new_run,
    new_worker,
    now,
    retried,
    row,
    run_status,
    skipped,
    snoozed,
    statuses,
    succeeded,
    waited,
)
from flowstone.testing.contracts.store_suite import StoreSuite

HOUR = timedelta(hours=1)
LEASE = timedelta(seconds=30)


class CancelRunContract(StoreSuite):
    """What has not started ends; what runs is asked to stop."""

    async def test_what_has_not_started_is_cancelled(self, store: Store) -> None:
        worker = await new_worker(store)
        run = await new_run(store, {"a": [], "b": ["a"], "c": ["b?"], "d": [">c"]})

        was_open = await store.cancel_run(run.id)

        record = await store.run(run.id)
        assert was_open == 4
        assert await statuses(store, run) == dict.fromkeys("abcd", Status.CANCELLED)
        assert record.status is RunStatus.CANCELLED
        assert record.finished_at is not None
        assert (await row(store, run, "a")).finished_at is not None
        assert await worker.claims() == []
        assert await worker.claims(run=run) == []

    async def test_what_is_timed_or_waits_is_cancelled(self, store: Store) -> None:
        worker = await new_worker(store)
        later = await new_run(store, {"a": []}, at=await now(store) + HOUR)
        run = await new_run(store, {"a": [], "b": [], "c": []})
        claims = await worker.claim()
        await worker.settle(
            waited(claims["a"], timeout=HOUR), retried(claims["b"], HOUR), waited(claims["c"])
        )

        await store.cancel_run(later.id)
        was_open = await store.cancel_run(run.id)
        await self.advance(store, 2 * HOUR)

        assert was_open == 3
        assert await statuses(store, run) == dict.fromkeys("abc", Status.CANCELLED)
        assert (await row(store, run, "a")).waiting_on is None
        assert await worker.claims() == []
        assert not await store.wake(run["c"], "1")

    async def test_what_has_ended_stays_as_it_is(self, store: Store) -> None:
        worker = await new_worker(store)
        run = await new_run(store, {"a": [], "b": [], "c": []})
        claims = await worker.claim(2)
        await worker.settle(succeeded(claims["a"]), skipped(claims["b"]))

        was_open = await store.cancel_run(run.id)

        assert was_open == 1
        assert await statuses(store, run) == {
            "a": Status.SUCCEEDED,
            "b": Status.SKIPPED,
            "c": Status.CANCELLED,
        }
        assert await run_status(store, run) is RunStatus.CANCELLED

    async def test_what_runs_goes_on_and_is_asked_to_stop(self, store: Store) -> None:
        worker, other = await new_worker(store), await new_worker(store)
        run = await new_run(store, {"a": [], "b": ["a"], "x": []})
        elsewhere = await new_run(store, {"y": []})
        await worker.claims(1)
        await other.claims(1)
        await worker.claims(1)

        was_open = await store.cancel_run(run.id)

        assert was_open == 3
        assert await statuses(store, run) == {
            "a": Status.RUNNING,
            "b": Status.CANCELLED,
            "x": Status.RUNNING,
        }
        assert await run_status(store, run) is RunStatus.RUNNING
        assert list(await store.aborts(worker.id)) == [run["a"]]
        assert list(await store.aborts(other.id)) == [run["x"]]
        assert await statuses(store, elsewhere) == {"y": Status.RUNNING}

    async def test_nobody_is_asked_to_stop_without_a_reason(self, store: Store) -> None:
        worker = await new_worker(store)
        await new_run(store, {"a": []})
        await worker.claims()

        assert list(await store.aborts(worker.id)) == []

    async def test_an_unknown_run_cannot_be_cancelled(self, store: Store) -> None:
        with pytest.raises(RunNotFoundError):
            await store.cancel_run(999_999_999)

    async def test_repeating_it_is_harmless(self, store: Store) -> None:
        worker = await new_worker(store)
        run = await new_run(store, {"a": [], "b": []})
        claims = await worker.claim(1)

        counts = [await store.cancel_run(run.id) for _ in range(2)]
        refused = await worker.settle(succeeded(claims["a"]))
        counts.append(await store.cancel_run(run.id))

        assert (counts, refused) == ([2, 1, 0], [])
        assert list(await store.aborts(worker.id)) == []

    async def test_a_run_that_has_ended_stays_as_it_is(self, store: Store) -> None:
        worker = await new_worker(store)
        run = await new_run(store, {"a": []})
        claims = await worker.claim()
        await worker.settle(succeeded(claims["a"]))
        before = await store.run(run.id)

        assert await store.cancel_run(run.id) == 0
        assert await store.run(run.id) == before

    @pytest.mark.parametrize(
        ("settle", "status", "run_ends"),
        [
            pytest.param(retried, Status.CANCELLED, RunStatus.CANCELLED, id="retry"),
            pytest.param(snoozed, Status.CANCELLED, RunStatus.CANCELLED, id="snooze"),
            pytest.param(handed_back, Status.CANCELLED, RunStatus.CANCELLED, id="hand-back"),
            pytest.param(waited, Status.CANCELLED, RunStatus.CANCELLED, id="wait"),
            pytest.param(succeeded, Status.SUCCEEDED, RunStatus.CANCELLED, id="success"),
            pytest.param(skipped, Status.SKIPPED, RunStatus.CANCELLED, id="skip"),
            pytest.param(failed, Status.FAILED, RunStatus.FAILED, id="failure"),
        ],
    )
    async def test_what_ran_on_ends_as_it_says_and_never_comes_back(
        self, store: Store, settle: Settle, status: Status, run_ends: RunStatus
    ) -> None:
        worker, run, claim = await self._cancelled_while_running(store)

        turn = await worker.turn(settle(claim))

        assert (list(turn.refused), list(turn.claims), turn.next_due) == ([], [], None)
        assert await statuses(store, run) == {"a": status, "b": Status.CANCELLED}
        assert await run_status(store, run) is run_ends

    async def test_a_value_that_came_in_spite_of_it_is_kept(self, store: Store) -> None:
        worker, run, claim = await self._cancelled_while_running(store)

        await worker.settle(succeeded(claim, '"late"'))

        assert await store.values([run["a"]]) == {run["a"]: '"late"'}

    async def test_a_run_that_all_the_same_succeeded_has_succeeded(self, store: Store) -> None:
        worker = await new_worker(store)
        run = await new_run(store, {"a": []})
        claims = await worker.claim()
        await store.cancel_run(run.id)

        await worker.settle(succeeded(claims["a"]))

        assert await run_status(store, run) is RunStatus.SUCCEEDED

    async def test_what_its_worker_lost_meanwhile_is_cancelled(self, store: Store) -> None:
        _, run, _ = await self._cancelled_while_running(store)
        await self.advance(store, HOUR)

        await store.rescue(max_rescues=3)

        assert await statuses(store, run) == dict.fromkeys("ab", Status.CANCELLED)
        assert await run_status(store, run) is RunStatus.CANCELLED

    async def _cancelled_while_running(self, store: Store) -> tuple[Worker, SmallRun, Claim]:
        worker = await new_worker(store)
        run = await new_run(store, {"a": [], "b": ["a"]})
        (claim,) = await worker.claims()
        await store.cancel_run(run.id)
        return worker, run, claim


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


class UnregisterContract(StoreSuite):
    """A worker that leaves takes nothing along."""

    async def test_what_it_owned_can_be_claimed_at_once(self, store: Store) -> None:
        leaving, staying = await new_worker(store), await new_worker(store)
        await new_run(store, {"a": [], "b": []})
        first = await leaving.claim(1)
        await staying.claim(1)

        await store.unregister_worker(leaving.id)

        again = await staying.claim()
        assert list(again) == ["a"]
        assert again["a"].claim > first["a"].claim

    async def test_leaving_is_not_held_against_the_work(self, store: Store) -> None:
        run = await new_run(store, {"a": []})
        for _ in range(3):
            worker = await new_worker(store)
            await worker.claims()
            await store.unregister_worker(worker.id)
        await (await new_worker(store)).claims()
        await self.advance(store, HOUR)

        await store.rescue(max_rescues=1)

        assert await statuses(store, run) == {"a": Status.READY}

    async def test_it_is_not_a_worker_any_more(self, store: Store) -> None:
        worker = await new_worker(store)
        await new_run(store, {"a": []})
        claims = await worker.claim()

        await store.unregister_worker(worker.id)

        assert not await worker.beat()
        with pytest.raises(WorkerLostError):
            await worker.turn(succeeded(claims["a"]))

    async def test_saying_goodbye_twice_is_harmless(self, store: Store) -> None:
        worker, other = await new_worker(store), await new_worker(store)
        await new_run(store, {"a": []})
        await worker.claims()
        await store.unregister_worker(worker.id)
        claims = await other.claim()

        await store.unregister_worker(worker.id)

        assert await other.settle(succeeded(claims["a"])) == []

    async def test_what_was_asked_to_stop_is_cancelled(self, store: Store) -> None:
        worker = await new_worker(store)
        run = await new_run(store, {"a": []})
        await worker.claims()
        await store.cancel_run(run.id)

        await store.unregister_worker(worker.id)

        assert await statuses(store, run) == {"a": Status.CANCELLED}
        assert await run_status(store, run) is RunStatus.CANCELLED
