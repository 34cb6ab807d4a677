"""How failures, skips and cancels reach those that depend on them, and what the run makes of it."""

import json

import pytest

from flowstone.core.contracts.store import Store
from flowstone.core.status import RunStatus, Status
from flowstone.testing.contracts.store_runs import (
    Settle,
    cancelled,
    failed,
    new_run,
    new_worker,
    row,
    run_status,
    short_name,
    skipped,
    statuses,
    succeeded,
)
from flowstone.testing.contracts.store_suite import StoreSuite

ends_without_value = pytest.mark.parametrize(
    ("settle", "own", "dependents"),
    [
        pytest.param(failed, Status.FAILED, Status.UPSTREAM_FAILED, id="failed"),
        pytest.param(skipped, Status.SKIPPED, Status.SKIPPED, id="skipped"),
        pytest.param(cancelled, Status.CANCELLED, Status.CANCELLED, id="cancelled"),
    ],
)
"""How to end without a value, the status that this is, and the status of all who needed one."""


class EndWithoutValueContract(StoreSuite):
    """A failure, a skip, a cancel: the same ways, other words."""

    @ends_without_value
    async def test_it_is_recorded_with_its_reason(
        self, store: Store, settle: Settle, own: Status, dependents: Status
    ) -> None:
        worker = await new_worker(store)
        run = await new_run(store, {"a": []})
        claims = await worker.claim()

        refused = await worker.settle(settle(claims["a"]))

        record = await row(store, run, "a")
        assert refused == []
        assert record.status is own
        assert record.error == settle(claims["a"]).error
        assert record.finished_at is not None
        assert dict(await store.values([run["a"]])) == {}

    @ends_without_value
    async def test_it_reaches_all_who_need_it_however_far(
        self, store: Store, settle: Settle, own: Status, dependents: Status
    ) -> None:
        worker = await new_worker(store)
        plan = {"a": [], "b": ["a"], "c": [">a"], "d": ["b"], "e": ["c", "d"], "f": [">e"]}
        run = await new_run(store, plan)
        claims = await worker.claim()

        turn = await worker.turn(settle(claims["a"]))

        assert list(turn.claims) == []
        assert await statuses(store, run) == {"a": own} | dict.fromkeys("bcdef", dependents)

    @ends_without_value
    async def test_those_it_reaches_end_without_having_begun(
        self, store: Store, settle: Settle, own: Status, dependents: Status
    ) -> None:
        worker = await new_worker(store)
        run = await new_run(store, {"a": [], "b": ["a"]})
        claims = await worker.claim()

        await worker.settle(settle(claims["a"]))

        record = await row(store, run, "b")
        assert record.started_at is None
        assert record.finished_at is not None
        assert record.attempt == 0

    @ends_without_value
    async def test_those_it_reaches_say_through_whom(
        self, store: Store, settle: Settle, own: Status, dependents: Status
    ) -> None:
        worker = await new_worker(store)
        run = await new_run(store, {"a": [], "b": ["a"], "c": ["b"]})
        claims = await worker.claim()

        await worker.settle(settle(claims["a"]))

        errors = [(await row(store, run, name)).error for name in "bc"]
        assert [json.loads(error or "{}").get("upstream") for error in errors] == [
            "test.a",
            "test.b",
        ]

    @ends_without_value
    async def test_an_optional_dependent_goes_on_without_the_input(
        self, store: Store, settle: Settle, own: Status, dependents: Status
    ) -> None:
        worker = await new_worker(store)
        run = await new_run(store, {"a": [], "b": [], "c": ["a?", "b"]})
        claims = await worker.claim()

        turn = await worker.turn(settle(claims["a"]), succeeded(claims["b"], "2"))

        (claim,) = turn.claims
        assert claim.id == run["c"]
        assert [(each.asset, each.value) for each in claim.inputs] == [("test.b", "2")]

    @ends_without_value
    async def test_an_optional_dependent_can_ask_how_the_upstream_ended(
        self, store: Store, settle: Settle, own: Status, dependents: Status
    ) -> None:
        worker = await new_worker(store)
        run = await new_run(store, {"z": [], "a": ["z"], "b": [], "c": ["a?", "b", ">b"]})
        claims = await worker.claim()

        await worker.turn(settle(claims["z"]), succeeded(claims["b"]))

        followed = {it.key.asset: it for it in await store.followed(run["c"])}
        assert followed["test.a"].id == run["a"]
        assert followed["test.a"].status is dependents
        assert "test.z" in (followed["test.a"].error or "")
        assert await store.followed(run["z"]) == []

    @ends_without_value
    async def test_an_optional_dependent_still_waits_for_the_others(
        self, store: Store, settle: Settle, own: Status, dependents: Status
    ) -> None:
        worker = await new_worker(store)
        run = await new_run(store, {"a": [], "b": [], "c": ["a?", "b"]})
        claims = await worker.claim()

        await worker.settle(settle(claims["a"]))

        assert (await statuses(store, run))["c"] is Status.PENDING

    @ends_without_value
    async def test_an_optional_edge_behind_a_needed_one_stops_it(
        self, store: Store, settle: Settle, own: Status, dependents: Status
    ) -> None:
        worker = await new_worker(store)
        run = await new_run(store, {"a": [], "b": ["a"], "c": ["b?"], "d": ["c"]})
        claims = await worker.claim()

        turn = await worker.turn(settle(claims["a"]))

        assert [(short_name(claim), list(claim.inputs)) for claim in turn.claims] == [("c", [])]
        assert await statuses(store, run) == {
            "a": own,
            "b": dependents,
            "c": Status.RUNNING,
            "d": Status.PENDING,
        }

    @ends_without_value
    async def test_who_needs_one_of_two_and_has_the_other_optional_ends(
        self, store: Store, settle: Settle, own: Status, dependents: Status
    ) -> None:
        worker = await new_worker(store)
        run = await new_run(store, {"a": [], "b": ["a"], "c": ["a", "b?"], "d": ["a?", "b"]})
        claims = await worker.claim()

        turn = await worker.turn(settle(claims["a"]))

        assert list(turn.claims) == []
        assert await statuses(store, run) == {"a": own} | dict.fromkeys("bcd", dependents)

    @ends_without_value
    async def test_an_optional_order_only_edge_lets_go_on(
        self, store: Store, settle: Settle, own: Status, dependents: Status
    ) -> None:
        worker = await new_worker(store)
        await new_run(store, {"a": [], "b": [">a?"]})
        claims = await worker.claim()

        turn = await worker.turn(settle(claims["a"]))

        assert [short_name(claim) for claim in turn.claims] == ["b"]

    @ends_without_value
    async def test_a_join_of_two_that_end_together_ends_once(
        self, store: Store, settle: Settle, own: Status, dependents: Status
    ) -> None:
        worker = await new_worker(store)
        run = await new_run(store, {"a": [], "b": [], "c": ["a", "b"], "d": ["c"], "e": ["b", "d"]})
        claims = await worker.claim()

        refused = await worker.settle(settle(claims["a"]), settle(claims["b"]))

        record = await store.run(run.id)
        assert refused == []
        assert await statuses(store, run) == dict.fromkeys("ab", own) | dict.fromkeys(
            "cde", dependents
        )
        assert sum(record.counts.values()) == 5
        assert record.status.is_terminal

    @ends_without_value
    async def test_a_join_of_two_that_end_after_one_another_ends_once(
        self, store: Store, settle: Settle, own: Status, dependents: Status
    ) -> None:
        worker = await new_worker(store)
        run = await new_run(store, {"a": [], "b": [], "c": ["a", "b"]})
        claims = await worker.claim()

        await worker.settle(settle(claims["a"]))
        ended = await row(store, run, "c")
        still_open = await store.run(run.id)
        await worker.settle(succeeded(claims["b"]))

        record = await store.run(run.id)
        assert ended.status is dependents
        assert await row(store, run, "c") == ended
        assert still_open.status is RunStatus.RUNNING
        assert record.status.is_terminal
        assert {status: n for status, n in record.counts.items() if n} == _count(
            own, dependents, Status.SUCCEEDED
        )

    @ends_without_value
    async def test_a_success_beside_it_in_one_batch_changes_nothing(
        self, store: Store, settle: Settle, own: Status, dependents: Status
    ) -> None:
        worker = await new_worker(store)
        run = await new_run(store, {"a": [], "b": [], "c": ["a", "b"], "d": ["b"]})
        claims = await worker.claim()

        turn = await worker.turn(succeeded(claims["b"]), settle(claims["a"]))

        assert [short_name(claim) for claim in turn.claims] == ["d"]
        assert (await statuses(store, run))["c"] is dependents


class MixedEndsContract(StoreSuite):
    """Several causes at once."""

    @pytest.mark.parametrize("order", [1, -1])
    async def test_of_several_causes_in_a_batch_the_worst_counts(
        self, store: Store, order: int
    ) -> None:
        worker = await new_worker(store)
        run = await new_run(
            store, {"a": [], "b": [], "c": [], "d": ["a", "b", "c"], "e": ["a", "b"]}
        )
        claims = await worker.claim()

        batch = [skipped(claims["a"]), cancelled(claims["b"]), failed(claims["c"])]
        await worker.settle(*batch[::order])

        assert await statuses(store, run) == {
            "a": Status.SKIPPED,
            "b": Status.CANCELLED,
            "c": Status.FAILED,
            "d": Status.UPSTREAM_FAILED,
            "e": Status.CANCELLED,
        }

    async def test_in_turns_of_their_own_the_first_cause_counts(self, store: Store) -> None:
        worker = await new_worker(store)
        run = await new_run(store, {"a": [], "b": [], "c": ["a", "b"]})
        claims = await worker.claim()

        await worker.settle(skipped(claims["a"]))
        await worker.settle(failed(claims["b"]))

        assert (await statuses(store, run))["c"] is Status.SKIPPED
        assert await run_status(store, run) is RunStatus.FAILED


class RunEndContract(StoreSuite):
    """What a run comes to when its last materialization ends."""

    @pytest.mark.parametrize(
        ("settle_a", "settle_b", "expected"),
        [
            pytest.param(succeeded, succeeded, RunStatus.SUCCEEDED, id="all succeeded"),
            pytest.param(succeeded, skipped, RunStatus.SUCCEEDED, id="a skip is no failure"),
            pytest.param(skipped, skipped, RunStatus.SUCCEEDED, id="nothing but skips"),
            pytest.param(succeeded, failed, RunStatus.FAILED, id="one failed"),
            pytest.param(succeeded, cancelled, RunStatus.CANCELLED, id="one cancelled"),
            pytest.param(cancelled, skipped, RunStatus.CANCELLED, id="cancelled and skipped"),
            pytest.param(cancelled, failed, RunStatus.FAILED, id="a failure outweighs a cancel"),
            pytest.param(failed, cancelled, RunStatus.FAILED, id="in either order"),
        ],
    )
    @pytest.mark.parametrize("batches", [1, 2])
    async def test_a_run_ends_as_its_worst(
        self,
        store: Store,
        settle_a: Settle,
        settle_b: Settle,
        expected: RunStatus,
        batches: int,
    ) -> None:
        worker = await new_worker(store)
        run = await new_run(store, {"a": [], "b": []})
        claims = await worker.claim()

        if batches == 1:
            await worker.settle(settle_a(claims["a"]), settle_b(claims["b"]))
        else:
            await worker.settle(settle_a(claims["a"]))
            await worker.settle(settle_b(claims["b"]))

        record = await store.run(run.id)
        assert record.status is expected
        assert record.finished_at is not None

    async def test_a_failure_that_only_an_optional_edge_leads_to_fails_the_run(
        self, store: Store
    ) -> None:
        worker = await new_worker(store)
        run = await new_run(store, {"a": [], "b": ["a?"]})
        claims = await worker.claim()

        turn = await worker.turn(failed(claims["a"]))
        open_status = await run_status(store, run)
        await worker.settle(succeeded(turn.claims[0]))

        assert open_status is RunStatus.RUNNING
        assert await run_status(store, run) is RunStatus.FAILED

    async def test_a_run_does_not_end_while_something_comes_back(self, store: Store) -> None:
        worker = await new_worker(store)
        run = await new_run(store, {"a": [], "b": []})
        claims = await worker.claim()

        await worker.settle(failed(claims["a"]))

        assert await run_status(store, run) is RunStatus.RUNNING

    async def test_runs_end_each_for_itself(self, store: Store) -> None:
        worker = await new_worker(store)
        one, two = await new_run(store, {"a": []}), await new_run(store, {"b": []})
        claims = await worker.claim()

        await worker.settle(failed(claims["a"]), succeeded(claims["b"]))

        assert await run_status(store, one) is RunStatus.FAILED
        assert await run_status(store, two) is RunStatus.SUCCEEDED


def _count(*seen: Status) -> dict[Status, int]:
    return {status: seen.count(status) for status in seen}
