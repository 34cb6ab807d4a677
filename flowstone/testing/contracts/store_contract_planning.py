"""What a new run writes, and what it leaves alone."""

from datetime import UTC, timedelta

import pytest

from flowstone.core.contracts.store import NewRun, Reused, Store
from flowstone.core.status import RunStatus, Status
from flowstone.testing.contracts.store_runs import (
    ODD_JSON,
    create,
    key,
    materialized,
    new_run,
    new_worker,
    now,
    planned,
    row,
    statuses,
    succeeded,
)
from flowstone.testing.contracts.store_suite import StoreSuite


class PlanningContract(StoreSuite):
    """Ids, new runs, repeats."""

    async def test_reserved_ids_ascend_and_are_above_all_earlier_ones(self, store: Store) -> None:
        _, first = await store.current([], reserve=3)
        _, second = await store.current([key("a")], reserve=2)

        ids = [*first, *second]
        assert len(ids) == 5
        assert ids == sorted(set(ids))

    async def test_nothing_is_reserved_unasked(self, store: Store) -> None:
        _, ids = await store.current([key("a")])

        assert list(ids) == []

    async def test_what_has_no_value_is_left_out(self, store: Store) -> None:
        worker = await new_worker(store)
        id_ = await materialized(store, worker, "a")

        current, _ = await store.current([key("a"), key("b"), key("a", "d:2024-01-01")])

        assert {each: value.materialization_id for each, value in current.items()} == {
            key("a"): id_
        }

    async def test_only_what_needs_nothing_is_ready(self, store: Store) -> None:
        run = await new_run(store, {"a": [], "b": ["a"], "c": ["a?"], "d": [">a"], "e": []})

        assert await statuses(store, run) == {
            "a": Status.READY,
            "b": Status.PENDING,
            "c": Status.PENDING,
            "d": Status.PENDING,
            "e": Status.READY,
        }

    async def test_a_new_run_is_as_it_was_planned(self, store: Store) -> None:
        plan = await planned(store, {"a": [], "b": ["a"]}, partition="eu", options=ODD_JSON)

        run = await create(store, plan)

        record = await store.run(run.id)
        assert record.run_id == run.id
        assert record.status is RunStatus.RUNNING
        assert record.targets == (key("b", "eu"),)
        assert record.options == ODD_JSON
        assert record.created_at.utcoffset() is not None
        assert record.created_at.astimezone(UTC).year > 2000
        assert record.finished_at is None
        assert {status: n for status, n in record.counts.items() if n} == {
            Status.READY: 1,
            Status.PENDING: 1,
        }
        assert record.reused_count == 0
        assert record.retry_of is None

    async def test_a_new_materialization_has_not_begun(self, store: Store) -> None:
        run = await new_run(store, {"a": []}, partition="eu")

        record = await row(store, run, "a")
        assert record.id == run["a"]
        assert record.run_id == run.id
        assert record.key == key("a", "eu")
        assert record.attempt == 0
        assert record.reason == "a has no value yet"
        assert record.error is None
        assert record.waiting_on is None
        assert not record.external
        assert record.started_at is None
        assert record.finished_at is None
        assert record.duration_ms is None

    async def test_materializations_are_listed_as_they_were_planned(self, store: Store) -> None:
        run = await new_run(store, {"c": [], "a": ["c"], "b": [], "d": ["a", "b"]})

        listed = [record.key for record in await store.materializations(run.id)]

        assert listed == [key("c"), key("a"), key("b"), key("d")]

    async def test_runs_that_repeat_others_say_so(self, store: Store) -> None:
        first = await new_run(store, {"a": []})
        plan = await planned(store, {"a": []})
        plan.retry_of = first.id

        second = await create(store, plan)

        assert (await store.run(second.id)).retry_of == first.id

    async def test_a_run_without_steps_has_succeeded_at_once(self, store: Store) -> None:
        created = await store.create_run(NewRun(targets=[key("a")], steps=[], reused=[]))

        record = await store.run(created.run_id)
        assert created.created
        assert record.status is RunStatus.SUCCEEDED
        assert record.finished_at is not None
        assert {status: n for status, n in record.counts.items() if n} == {}
        assert list(await store.materializations(created.run_id)) == []

    async def test_what_is_reused_is_kept_with_the_reason(self, store: Store) -> None:
        worker = await new_worker(store)
        id_ = await materialized(store, worker, "a")
        reused = [Reused(id_, key("a"), "still fresh")]

        created = await store.create_run(NewRun(targets=[key("a")], steps=[], reused=reused))

        assert list(await store.reused(created.run_id)) == reused
        assert (await store.run(created.run_id)).reused_count == 1

    async def test_a_reused_value_is_an_input_and_not_waited_for(self, store: Store) -> None:
        worker = await new_worker(store)
        id_ = await materialized(store, worker, "a", '"stored"')

        await new_run(store, {"b": ["a"]}, reused={"a": id_})

        (claim,) = await worker.claims()
        assert [(each.materialization_id, each.value) for each in claim.inputs] == [
            (id_, '"stored"')
        ]

    async def test_a_repeated_dedupe_text_returns_the_first_run(self, store: Store) -> None:
        first = await store.create_run(await planned(store, {"a": []}, dedupe="order 1"))

        second = await store.create_run(await planned(store, {"b": []}, dedupe="order 1"))

        assert first.created
        assert not second.created
        assert second.run_id == first.run_id

    async def test_a_repeated_dedupe_text_writes_nothing(self, store: Store) -> None:
        worker = await new_worker(store)
        first = await create(store, await planned(store, {"a": []}, dedupe="order 1"))

        await store.create_run(await planned(store, {"b": [], "c": []}, dedupe="order 1"))

        assert [record.run_id for record in await store.runs()] == [first.id]
        assert [record.key for record in await store.materializations(first.id)] == [key("a")]
        assert list(await store.history(key("b"))) == []
        assert list(await worker.claim()) == ["a"]

    async def test_a_dedupe_text_outlives_the_run_that_has_it(self, store: Store) -> None:
        worker = await new_worker(store)
        first = await create(store, await planned(store, {"a": []}, dedupe="order 1"))
        claims = await worker.claim()
        await worker.settle(succeeded(claims["a"]))

        second = await store.create_run(await planned(store, {"a": []}, dedupe="order 1"))

        assert (second.run_id, second.created) == (first.id, False)

    @pytest.mark.parametrize("other", ["order 2", "Order 1", "order 1 ", "", None])
    async def test_another_dedupe_text_is_another_run(
        self, store: Store, other: str | None
    ) -> None:
        first = await create(store, await planned(store, {"a": []}, dedupe="order 1"))

        second = await create(store, await planned(store, {"a": []}, dedupe=other))

        assert second.id > first.id

    async def test_without_dedupe_every_call_is_a_new_run(self, store: Store) -> None:
        first = await new_run(store, {"a": []})

        second = await new_run(store, {"a": []})
        third = await create(store, await planned(store, {"a": []}, dedupe=""))

        assert first.id < second.id < third.id

    async def test_a_run_for_later_is_not_claimed_before(self, store: Store) -> None:
        worker = await new_worker(store)
        await new_run(store, {"a": [], "b": []}, at=await now(store) + timedelta(hours=1))

        assert await worker.claims() == []
        await self.advance(store, timedelta(minutes=59))
        assert await worker.claims() == []
        await self.advance(store, timedelta(minutes=2))
        assert sorted(await worker.claim()) == ["a", "b"]

    async def test_a_run_for_an_instant_that_has_passed_is_claimed_at_once(
        self, store: Store
    ) -> None:
        worker = await new_worker(store)

        await new_run(store, {"a": []}, at=await now(store) - timedelta(hours=1))

        assert sorted(await worker.claim()) == ["a"]

    async def test_what_follows_in_a_run_for_later_waits_for_nothing_more(
        self, store: Store
    ) -> None:
        worker = await new_worker(store)
        await new_run(store, {"a": [], "b": ["a"]}, at=await now(store) + timedelta(hours=1))
        await self.advance(store, timedelta(hours=1, minutes=1))
        claims = await worker.claim()

        turn = await worker.turn(succeeded(claims["a"]))

        assert [claim.asset for claim in turn.claims] == ["test.b"]
