"""Waits, the wake-ups that end them, and the attempts that go on afterwards."""

from datetime import timedelta

import pytest

from flowstone.core.contracts.store import Claim, Store
from flowstone.core.json_value import JsonValue
from flowstone.core.outcome import Wake
from flowstone.core.status import RunStatus, Status
from flowstone.testing.contracts.store_runs import (
    ODD_JSON,
    Settle,
    SettleLater,
    begun,
    failed,
    handed_back,
    new_run,
    new_worker,
    retried,
    row,
    run_status,
    snoozed,
    statuses,
    succeeded,
    waited,
)
from flowstone.testing.contracts.store_suite import StoreSuite


class WaitingContract(StoreSuite):
    """A wait holds nothing, and ends once."""

    async def test_a_wait_shows_what_it_is_for(self, store: Store) -> None:
        worker, run, claim = await begun(store)

        await worker.settle(waited(claim, "scatter", external=False))
        inside = await row(store, run, "a")
        (other,) = await worker.claims()
        await worker.settle(waited(other, "approval", external=True))
        outside = await row(store, run, "x")

        assert (inside.status, inside.waiting_on, inside.external) == (
            Status.WAITING,
            "scatter",
            False,
        )
        assert (outside.status, outside.waiting_on, outside.external) == (
            Status.WAITING,
            "approval",
            True,
        )

    async def test_a_wait_shows_on_whom_until_it_ends(self, store: Store) -> None:
        worker, run, claim = await begun(store)
        (other,) = await worker.claims()

        await worker.settle(waited(claim, whom=('Ä "quoted"', "b,{}", "")), waited(other))
        named, unnamed = await row(store, run, "a"), await row(store, run, "x")
        await store.wake(run["a"], "null")
        woken = await row(store, run, "a")

        assert (named.whom, unnamed.whom) == (('Ä "quoted"', "b,{}", ""), ())
        assert woken.whom == ()

    async def test_a_wait_belongs_to_nobody(self, store: Store) -> None:
        worker, run, claim = await begun(store)

        turn = await worker.turn(waited(claim), run=run, slots=1)

        assert [claim.id for claim in turn.claims] == [run["x"]]
        assert [id_ for id_, _ in await store.owned(worker.id)] == [run["x"]]
        assert await run_status(store, run) is RunStatus.RUNNING

    async def test_without_a_wake_up_it_lasts(self, store: Store) -> None:
        worker, run, claim = await begun(store)
        await worker.settle(waited(claim))

        await self.advance(store, timedelta(days=400))

        claims = await worker.claim()
        assert list(claims) == ["x"]
        assert (await statuses(store, run))["a"] is Status.WAITING

    async def test_a_wake_up_makes_it_ready(self, store: Store) -> None:
        worker, run, claim = await begun(store)
        await worker.settle(waited(claim))

        is_awake = await store.wake(run["a"], '"yes"')

        record = await row(store, run, "a")
        assert is_awake
        assert (record.status, record.waiting_on, record.external) == (Status.READY, None, False)

    async def test_the_next_claim_brings_the_wake_up(self, store: Store) -> None:
        worker, run, claim = await begun(store)
        await worker.settle(waited(claim, "approval", state=ODD_JSON))
        await store.wake(run["a"], ODD_JSON)

        resumed = (await worker.claim())["a"]

        content: JsonValue = {"b": None, "a": 'ä \\ "'}
        assert resumed.wake == Wake("approval", content, content, timed_out=False)

    async def test_a_resumed_attempt_has_its_inputs_again(self, store: Store) -> None:
        worker = await new_worker(store)
        run = await new_run(store, {"a": [], "b": ["a"]})
        turn = await worker.turn(succeeded((await worker.claim())["a"], "7"))
        await worker.settle(waited(turn.claims[0]))
        await store.wake(run["b"], "null")

        (resumed,) = await worker.claims()

        assert [each.value for each in resumed.inputs] == ["7"]
        assert resumed.wake == Wake("approval", None, None, timed_out=False)

    async def test_going_on_is_no_new_attempt(self, store: Store) -> None:
        worker, run, claim = await begun(store)
        await worker.settle(retried(claim))
        second = (await worker.claim())["a"]
        await worker.settle(waited(second))
        await store.wake(run["a"], "1")

        resumed = (await worker.claim())["a"]

        assert (second.attempt, resumed.attempt) == (2, 2)

    async def test_only_the_first_wake_up_counts(self, store: Store) -> None:
        worker, run, claim = await begun(store)
        await worker.settle(waited(claim))

        first = await store.wake(run["a"], '"first"')
        second = await store.wake(run["a"], '"second"')

        resumed = (await worker.claim())["a"]
        assert (first, second) == (True, False)
        assert payload(resumed) == "first"

    async def test_dependents_wait_too(self, store: Store) -> None:
        worker, run, claim = await begun(store)

        turn = await worker.turn(waited(claim), slots=1)

        assert [claim.id for claim in turn.claims] == [run["x"]]
        assert (await statuses(store, run))["b"] is Status.PENDING

    async def test_a_resumed_attempt_settles_like_any_other(self, store: Store) -> None:
        worker, run, claim = await begun(store)
        await worker.settle(waited(claim))
        await store.wake(run["a"], "1")
        claims = await worker.claim()

        await worker.settle(succeeded(claims["a"], '"done"'), failed(claims["x"]))

        assert await statuses(store, run) == {
            "a": Status.SUCCEEDED,
            "b": Status.READY,
            "x": Status.FAILED,
        }
        assert await store.values([run["a"]]) == {run["a"]: '"done"'}

    @pytest.mark.parametrize("settle", [succeeded, failed])
    async def test_what_has_ended_cannot_be_woken(self, store: Store, settle: Settle) -> None:
        worker, run, claim = await begun(store)
        await worker.settle(settle(claim))
        before = await row(store, run, "a")

        assert not await store.wake(run["a"], "1")
        assert await row(store, run, "a") == before

    async def test_what_does_not_exist_cannot_be_woken(self, store: Store) -> None:
        assert not await store.wake(999_999_999, "1")

    async def test_one_may_wait_again_and_for_something_else(self, store: Store) -> None:
        worker, run, claim = await begun(store)
        await worker.settle(waited(claim, "signal", state="1"))
        await store.wake(run["a"], '"first"')
        resumed = (await worker.claim())["a"]

        await worker.settle(waited(resumed, "approval", state="2"))
        between = await row(store, run, "a")
        idle = await worker.claims()
        is_awake = await store.wake(run["a"], '"second"')
        last = (await worker.claim())["a"]

        assert (between.status, between.waiting_on) == (Status.WAITING, "approval")
        assert (idle, is_awake) == ([], True)
        assert last.wake == Wake("approval", 2, "second", timed_out=False)


class EarlyWakeUpContract(StoreSuite):
    """A wake-up may come before the wait that it ends."""

    async def test_it_is_kept_while_the_first_attempt_runs(self, store: Store) -> None:
        worker, run, claim = await begun(store)

        is_kept = await store.wake(run["a"], '"early"')
        turn = await worker.turn(waited(claim, "signal", state="[1]"), run=run, slots=1)

        assert is_kept
        assert [(each.id, each.wake) for each in turn.claims] == [
            (run["a"], Wake("signal", [1], "early", timed_out=False))
        ]

    async def test_the_first_of_two_is_kept(self, store: Store) -> None:
        worker, run, claim = await begun(store)

        kept = [await store.wake(run["a"], text) for text in ('"first"', '"second"')]
        await worker.settle(waited(claim))

        assert kept == [True, False]
        assert payload((await worker.claim())["a"]) == "first"

    async def test_it_ends_one_wait_only(self, store: Store) -> None:
        worker, run, claim = await begun(store)
        await store.wake(run["a"], '"early"')
        await worker.settle(waited(claim))
        resumed = (await worker.claim())["a"]

        await worker.settle(waited(resumed))

        assert (await statuses(store, run))["a"] is Status.WAITING

    async def test_it_does_not_change_what_runs(self, store: Store) -> None:
        worker, run, claim = await begun(store)
        before = await row(store, run, "a")

        await store.wake(run["a"], '"early"')

        assert await row(store, run, "a") == before
        assert await worker.settle(succeeded(claim)) == []

    async def test_it_is_kept_while_a_resumed_attempt_runs(self, store: Store) -> None:
        worker, run, claim = await begun(store)
        await worker.settle(waited(claim, "scatter"))
        await store.wake(run["a"], '"first"')
        resumed = (await worker.claim())["a"]

        is_kept = await store.wake(run["a"], '"second"')
        await worker.settle(waited(resumed, "branches"))

        assert is_kept
        assert (await worker.claim())["a"].wake == Wake("branches", None, "second", timed_out=False)

    @pytest.mark.parametrize("timeout", [None, timedelta(0)])
    async def test_it_is_kept_while_a_lost_resume_is_about_to_be_repeated(
        self, store: Store, timeout: timedelta | None
    ) -> None:
        worker, run, claim = await begun(store)
        await worker.settle(waited(claim, "scatter", timeout=timeout))
        if timeout is None:
            await store.wake(run["a"], '"first"')
        resumed = (await worker.claim())["a"]
        await worker.settle(retried(resumed))

        is_kept = await store.wake(run["a"], '"second"')
        again = (await worker.claim())["a"]
        await worker.settle(waited(again, "branches"))

        assert is_kept
        assert again.wake == resumed.wake
        assert (await worker.claim())["a"].wake == Wake("branches", None, "second", timed_out=False)

    @pytest.mark.parametrize("settle", [retried, snoozed, handed_back])
    async def test_it_survives_the_loss_of_the_attempt_without_resuming_it(
        self, store: Store, settle: SettleLater
    ) -> None:
        worker, run, claim = await begun(store)
        await store.wake(run["a"], '"early"')
        await worker.settle(settle(claim, None))
        again = (await worker.claim())["a"]
        await worker.settle(waited(again))

        resumed = (await worker.claim())["a"]

        assert again.wake is None
        assert payload(resumed) == "early"


def payload(claim: Claim) -> object:
    """Return what the waker sent."""
    assert claim.wake is not None
    return claim.wake.payload
