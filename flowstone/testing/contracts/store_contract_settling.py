"""What a settlement stores, and what it starts."""

from datetime import timedelta

import pytest

from flowstone.core.contracts.store import Claim, Store
from flowstone.core.status import RunStatus, Status
from flowstone.testing.contracts.store_runs import (
    ERROR,
    ODD_JSON,
    SettleLater,
    failed,
    handed_back,
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

HOUR = timedelta(hours=1)


class SuccessContract(StoreSuite):
    """Values, and dependents that have all they need."""

    async def test_a_success_is_recorded(self, store: Store) -> None:
        worker = await new_worker(store)
        run = await new_run(store, {"a": []})
        claims = await worker.claim()

        refused = await worker.settle(succeeded(claims["a"], '"v"'))

        record = await row(store, run, "a")
        assert refused == []
        assert record.status is Status.SUCCEEDED
        assert record.attempt == 1
        assert record.started_at is not None
        assert record.finished_at is not None
        assert record.finished_at >= record.started_at
        assert record.duration_ms == 12
        assert record.error is None
        assert dict(await store.values([run["a"]])) == {run["a"]: '"v"'}

    async def test_the_last_success_ends_the_run(self, store: Store) -> None:
        worker = await new_worker(store)
        run = await new_run(store, {"a": [], "b": []})
        claims = await worker.claim()

        await worker.settle(succeeded(claims["a"]))
        half = await store.run(run.id)
        await worker.settle(succeeded(claims["b"]))
        whole = await store.run(run.id)

        assert (half.status, half.finished_at) == (RunStatus.RUNNING, None)
        assert whole.status is RunStatus.SUCCEEDED
        assert whole.finished_at is not None
        assert {status: n for status, n in whole.counts.items() if n} == {Status.SUCCEEDED: 2}

    async def test_a_dependent_is_ready_with_its_last_upstream(self, store: Store) -> None:
        worker = await new_worker(store)
        run = await new_run(store, {"a": [], "b": [], "c": ["a", "b"]})
        claims = await worker.claim()

        await worker.settle(succeeded(claims["a"]))
        after_one = await statuses(store, run)
        await worker.settle(succeeded(claims["b"]))
        after_both = await statuses(store, run)

        assert after_one["c"] is Status.PENDING
        assert after_both["c"] is Status.READY

    async def test_both_upstreams_may_succeed_in_one_batch(self, store: Store) -> None:
        worker = await new_worker(store)
        await new_run(store, {"a": [], "b": [], "c": ["a", "b?"], "d": [">b", "a"]})
        claims = await worker.claim()

        turn = await worker.turn(succeeded(claims["a"]), succeeded(claims["b"]))

        assert sorted(claim.asset for claim in turn.claims) == ["test.c", "test.d"]

    async def test_a_diamond_runs_its_end_once(self, store: Store) -> None:
        worker = await new_worker(store)
        run = await new_run(store, {"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"]})

        order = []
        claims = await worker.claim()
        while claims:
            order.append(sorted(claims))
            turn = await worker.turn(*map(succeeded, claims.values()))
            claims = {claim.asset.removeprefix("test."): claim for claim in turn.claims}

        assert order == [["a"], ["b", "c"], ["d"]]
        assert await run_status(store, run) is RunStatus.SUCCEEDED

    async def test_one_success_can_start_many(self, store: Store) -> None:
        worker = await new_worker(store)
        many = {f"b{n}": ["a"] for n in range(250)}
        run = await new_run(store, {"a": [], **many, "c": list(many)})
        claims = await worker.claim()

        wave = await worker.turn(succeeded(claims["a"]), slots=1000)
        last = await worker.turn(*map(succeeded, wave.claims))

        assert len(wave.claims) == 250
        assert [len(claim.inputs) for claim in last.claims] == [250]
        assert (await statuses(store, run))["c"] is Status.RUNNING

    async def test_a_claim_brings_its_inputs(self, store: Store) -> None:
        worker = await new_worker(store)
        run = await new_run(store, {"a": [], "b": [], "c": [], "d": ["a", "b?", ">c"]})
        claims = await worker.claim()
        await worker.settle(
            succeeded(claims["a"], "[1]"), succeeded(claims["b"], "null"), succeeded(claims["c"])
        )

        (claim,) = await worker.claims()

        assert {
            each.asset: (each.materialization_id, each.io, each.location, each.value)
            for each in claim.inputs
        } == {
            "test.a": (run["a"], None, None, "[1]"),
            "test.b": (run["b"], None, None, "null"),
        }

    async def test_a_value_of_an_io_manager_comes_as_its_location(self, store: Store) -> None:
        worker = await new_worker(store)
        run = await new_run(store, {"a": [], "b": ["a"]})
        claims = await worker.claim()
        await worker.settle(stored(claims["a"], "lake", '{"path": "x/1"}'))

        (claim,) = await worker.claims()

        (given,) = claim.inputs
        assert (given.io, given.location, given.value) == ("lake", '{"path": "x/1"}', None)
        assert dict(await store.values([run["a"]])) == {}

    async def test_a_large_value_comes_with_the_claim_or_by_its_id(self, store: Store) -> None:
        worker = await new_worker(store)
        run = await new_run(store, {"a": [], "b": ["a"]})
        claims = await worker.claim()
        large = '"' + "ä" * 300_000 + '"'
        await worker.settle(succeeded(claims["a"], large))

        (claim,) = await worker.claims()

        (given,) = claim.inputs
        assert given.io is None
        assert given.value in (None, large)
        assert dict(await store.values([run["a"]])) == {run["a"]: large}

    async def test_texts_come_back_as_they_were_given(self, store: Store) -> None:
        worker = await new_worker(store)
        run = await new_run(store, {"a": [], "b": ["a"], "c": []}, options=ODD_JSON)
        claims = await worker.claim()
        await worker.settle(succeeded(claims["a"], ODD_JSON), failed(claims["c"], ODD_JSON))

        (claim,) = await worker.claims()
        await worker.settle(stored(claim, "lake", ODD_JSON))

        current, _ = await store.current([key("b")])
        assert claim.options == ODD_JSON
        assert [each.value for each in claim.inputs] == [ODD_JSON]
        assert (await store.values([run["a"]]))[run["a"]] == ODD_JSON
        assert (await row(store, run, "c")).error == ODD_JSON
        assert current[key("b")].location == ODD_JSON

    async def test_values_that_are_not_there_are_left_out(self, store: Store) -> None:
        worker = await new_worker(store)
        run = await new_run(store, {"a": [], "b": []})
        claims = await worker.claim(1)
        await worker.settle(succeeded(claims["a"], "7"))

        values = await store.values([run["b"], run["a"], 999_999_999])

        assert dict(values) == {run["a"]: "7"}


class RepetitionContract(StoreSuite):
    """Attempts, claims and delays of what comes back."""

    @pytest.mark.parametrize(
        ("settle", "attempts"),
        [(retried, [1, 2, 3]), (snoozed, [1, 1, 1]), (handed_back, [1, 1, 1])],
    )
    async def test_only_a_retry_counts_as_an_attempt(
        self, store: Store, settle: SettleLater, attempts: list[int]
    ) -> None:
        worker = await new_worker(store)
        await new_run(store, {"a": []})

        seen = []
        for _ in attempts:
            (claim,) = await worker.claims()
            seen.append(claim.attempt)
            await worker.settle(settle(claim, None))

        assert seen == attempts

    @pytest.mark.parametrize("settle", [snoozed, handed_back])
    async def test_what_is_given_back_does_not_show_as_an_attempt(
        self, store: Store, settle: SettleLater
    ) -> None:
        worker = await new_worker(store)
        run = await new_run(store, {"a": []})
        (claim,) = await worker.claims()

        await worker.settle(settle(claim, None))

        record = await row(store, run, "a")
        assert (record.status, record.attempt) == (Status.READY, 0)

    async def test_every_return_has_a_new_claim(self, store: Store) -> None:
        worker = await new_worker(store)
        await new_run(store, {"a": []})
        seen: list[Claim] = []

        for settle in (retried, snoozed, handed_back, waited):
            claims = await worker.claim()
            seen.append(claims["a"])
            await worker.settle(settle(claims["a"]))
        await store.wake(seen[0].id, "1")
        seen += await worker.claims()

        numbers = [claim.claim for claim in seen]
        assert numbers == sorted(set(numbers))

    @pytest.mark.parametrize("settle", [retried, snoozed, handed_back])
    async def test_nothing_comes_back_before_its_delay(
        self, store: Store, settle: SettleLater
    ) -> None:
        worker = await new_worker(store)
        await new_run(store, {"a": []})
        (claim,) = await worker.claims()

        turn = await worker.turn(settle(claim, HOUR))

        assert list(turn.claims) == []
        await self.advance(store, timedelta(minutes=59))
        assert await worker.claims() == []
        await self.advance(store, timedelta(minutes=2))
        assert list(await worker.claim()) == ["a"]

    async def test_a_success_after_a_retry_shows_no_error(self, store: Store) -> None:
        worker = await new_worker(store)
        run = await new_run(store, {"a": []})
        turn = await worker.turn(retried((await worker.claim())["a"]))

        await worker.settle(succeeded(turn.claims[0]))

        record = await row(store, run, "a")
        assert (record.status, record.attempt, record.error) == (Status.SUCCEEDED, 2, None)

    async def test_a_retry_shows_its_error_and_stays_open(self, store: Store) -> None:
        worker = await new_worker(store)
        run = await new_run(store, {"a": [], "b": ["a"]})
        claims = await worker.claim()

        await worker.settle(retried(claims["a"]))

        record = await row(store, run, "a")
        assert (record.status, record.error) == (Status.READY, ERROR)
        assert record.finished_at is None
        assert (await statuses(store, run))["b"] is Status.PENDING
        assert await run_status(store, run) is RunStatus.RUNNING
