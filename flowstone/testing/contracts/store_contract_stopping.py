"""Cancelled runs, and workers that leave."""

from datetime import timedelta

import pytest

from flowstone.core.contracts.store import Claim, Store, WorkerLostError
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
