"""Who gets what, and in which order."""

import asyncio
from datetime import timedelta

from flowstone.core.contracts.store import Capacity, Store
from flowstone.testing.contracts.store_runs import (
    SmallRun,
    Worker,
    create,
    new_run,
    new_worker,
    now,
    planned,
    retried,
    short_name,
    succeeded,
    waited,
)
from flowstone.testing.contracts.store_suite import StoreSuite

HOUR = timedelta(hours=1)
TOLERANCE = timedelta(seconds=30)
"""How late a store's own clock may tell the time, where it is a real one."""


class ClaimsContract(StoreSuite):
    """Order, capacity, queues, timed jobs."""

    async def test_a_claim_says_what_to_do(self, store: Store) -> None:
        worker = await new_worker(store)
        run = await new_run(store, {"a": []}, queue="mail", partition="eu", options='{"io":"lake"}')

        (claim,) = await worker.claims(queue="mail")

        assert claim.id == run["a"]
        assert claim.run_id == run.id
        assert claim.asset == "test.a"
        assert claim.partition == "eu"
        assert claim.attempt == 1
        assert list(claim.inputs) == []
        assert claim.options == '{"io":"lake"}'
        assert claim.wake is None
        assert claim.queue == "mail"

    async def test_jobs_are_claimed_in_the_order_of_their_ids(self, store: Store) -> None:
        worker = await new_worker(store)
        await new_run(store, {"a": [], "b": []})
        await new_run(store, {"c": []})

        assert await one_by_one(worker) == ["a", "b", "c"]

    async def test_a_batch_is_in_the_order_in_which_it_would_be_claimed(self, store: Store) -> None:
        worker = await new_worker(store)
        await new_run(store, {"timed": []}, at=await now(store) + HOUR)
        priorities = {"low": -5, "high": 5}
        await new_run(store, {"low": [], "a": [], "high": [], "b": []}, priorities=priorities)
        await self.advance(store, 2 * HOUR)

        names = [short_name(claim) for claim in await worker.claims()]

        assert names == ["timed", "high", "a", "b", "low"]

    async def test_a_higher_priority_goes_first(self, store: Store) -> None:
        worker = await new_worker(store)
        priorities = {"low": -5, "high": 5, "higher": 7}
        await new_run(
            store, {"low": [], "a": [], "high": [], "b": [], "higher": []}, priorities=priorities
        )

        assert await one_by_one(worker) == ["higher", "high", "a", "b", "low"]

    async def test_timed_jobs_that_are_due_go_before_any_priority(self, store: Store) -> None:
        worker = await new_worker(store)
        start = await now(store)
        await new_run(store, {"later": []}, at=start + 2 * HOUR)
        await new_run(store, {"sooner": []}, at=start + HOUR)
        await new_run(store, {"not due": []}, at=start + 9 * HOUR)
        await new_run(store, {"urgent": []}, priorities={"urgent": 99})
        await self.advance(store, 3 * HOUR)

        assert await one_by_one(worker) == ["sooner", "later", "urgent"]

    async def test_however_much_is_due_at_once_it_leaves_some_room(self, store: Store) -> None:
        worker = await new_worker(store)
        timed = [f"t{number}" for number in range(8)]
        await new_run(store, {name: [] for name in timed}, at=await now(store) + HOUR)
        await new_run(store, {"x": [], "y": [], "z": []})
        await self.advance(store, 2 * HOUR)

        turns = [[short_name(it) for it in await worker.claims(room)] for room in (2, 6, 3)]

        assert turns == [["t0", "x"], ["t1", "t2", "t3", "t4", "y", "z"], ["t5", "t6", "t7"]]

    async def test_timed_jobs_of_one_instant_go_by_id(self, store: Store) -> None:
        worker = await new_worker(store)
        await new_run(
            store, {"a": [], "b": [], "c": []}, priorities={"c": 9}, at=await now(store) + HOUR
        )
        await self.advance(store, 2 * HOUR)

        assert await one_by_one(worker) == ["a", "b", "c"]

    async def test_no_more_is_claimed_than_there_is_room_for(self, store: Store) -> None:
        worker = await new_worker(store)
        await new_run(store, {"a": [], "b": [], "c": []})

        assert sorted(await worker.claim(2)) == ["a", "b"]
        assert sorted(await worker.claim(2)) == ["c"]
        assert await worker.claims(2) == []

    async def test_without_room_nothing_is_claimed(self, store: Store) -> None:
        worker = await new_worker(store)
        run = await new_run(store, {"a": []})

        assert await worker.claims(0) == []
        assert await worker.claims(0, run=run) == []
        assert list((await store.turn(worker.id, [], Capacity())).claims) == []

    async def test_every_queue_has_room_of_its_own(self, store: Store) -> None:
        worker = await new_worker(store)
        await new_run(store, {"a": [], "b": [], "c": []}, queue="mail")
        await new_run(store, {"d": [], "e": [], "f": []}, queue="etl")
        await new_run(store, {"g": []}, queue="not asked for")

        turn = await store.turn(worker.id, [], Capacity({"mail": 1, "etl": 2, "empty": 9}))

        assert sorted(short_name(claim) for claim in turn.claims) == ["a", "d", "e"]

    async def test_the_order_holds_within_each_queue(self, store: Store) -> None:
        worker = await new_worker(store)
        await new_run(store, {"a": [], "b": []}, queue="mail", priorities={"b": 1})
        await new_run(store, {"c": [], "d": []}, queue="etl", priorities={"d": 1})

        turns = [await store.turn(worker.id, [], Capacity({"mail": 1, "etl": 1})) for _ in "12"]

        names = [sorted(short_name(claim) for claim in turn.claims) for turn in turns]
        assert names == [["b", "d"], ["a", "c"]]

    async def test_nothing_is_claimed_twice(self, store: Store) -> None:
        one, two = await new_worker(store), await new_worker(store)
        await new_run(store, {"a": [], "b": [], "c": []})

        first = await one.claim(2)
        second = await two.claim()

        assert (sorted(first), sorted(second)) == (["a", "b"], ["c"])
        assert await one.claims() == []

    async def test_workers_that_claim_together_share(self, store: Store) -> None:
        workers = [await new_worker(store) for _ in range(4)]
        names = [f"a{n}" for n in range(40)]
        await new_run(store, {name: [] for name in names})
        claimed: list[str] = []

        while len(claimed) < len(names):
            batches = await asyncio.gather(*(worker.claims(7) for worker in workers))
            found = [short_name(claim) for batch in batches for claim in batch]
            assert found
            claimed += found

        assert sorted(claimed) == sorted(names)

    async def test_what_a_settlement_makes_ready_is_claimed_in_the_same_turn(
        self, store: Store
    ) -> None:
        worker = await new_worker(store)
        await new_run(store, {"a": [], "b": ["a"], "c": ["b"]})
        claims = await worker.claim()

        turn = await worker.turn(succeeded(claims["a"]))

        assert [short_name(claim) for claim in turn.claims] == ["b"]

    async def test_the_same_turn_also_claims_what_it_retries(self, store: Store) -> None:
        worker = await new_worker(store)
        await new_run(store, {"a": []})
        claims = await worker.claim()

        turn = await worker.turn(retried(claims["a"]))

        assert [(short_name(claim), claim.attempt) for claim in turn.claims] == [("a", 2)]


class RunScopedClaimsContract(StoreSuite):
    """Workers that help one run only."""

    async def test_another_run_is_not_touched(self, store: Store) -> None:
        worker = await new_worker(store)
        other = await new_run(store, {"a": []})
        mine = await new_run(store, {"b": []})

        assert list(await worker.claim(run=mine)) == ["b"]
        assert list(await worker.claim(run=mine)) == []
        assert list(await worker.claim(run=other)) == ["a"]

    async def test_queues_do_not_matter(self, store: Store) -> None:
        worker = await new_worker(store)
        run = await new_run(store, {"a": [], "b": [], "c": []}, queues={"a": "mail", "b": "etl"})

        assert sorted(await worker.claim(run=run)) == ["a", "b", "c"]

    async def test_no_more_is_claimed_than_there_are_slots(self, store: Store) -> None:
        worker = await new_worker(store)
        run = await new_run(store, {"a": [], "b": [], "c": []}, queues={"b": "mail"})

        assert sorted(await worker.claim(2, run=run)) == ["a", "b"]

    async def test_the_order_is_that_of_a_queue(self, store: Store) -> None:
        worker = await new_worker(store)
        run = await new_run(
            store, {"a": [], "timed": [], "b": []}, queues={"b": "mail"}, priorities={"b": 3}
        )
        claims = await worker.claim(run=run)
        await worker.settle(
            retried(claims["a"]), retried(claims["timed"], HOUR), retried(claims["b"])
        )
        await self.advance(store, 2 * HOUR)

        assert await one_by_one(worker, run) == ["timed", "b", "a"]

    async def test_priorities_count_across_its_queues(self, store: Store) -> None:
        worker = await new_worker(store)
        run = await new_run(
            store,
            {"a": [], "b": [], "c": [], "d": [], "e": []},
            queues={"a": "mail", "c": "mail", "e": "mail"},
            priorities={"c": 5, "d": 5, "e": -1},
        )

        assert await one_by_one(worker, run) == ["c", "d", "a", "b", "e"]

    async def test_what_lies_between_its_own_is_left_to_others(self, store: Store) -> None:
        worker = await new_worker(store)
        mine, other = [await planned(store, {f"{each}1": [], f"{each}2": []}) for each in "ab"]
        mine.steps[1].id, other.steps[0].id = other.steps[0].id, mine.steps[1].id
        runs = [await create(store, each) for each in (mine, other)]

        assert list(await worker.claim(run=runs[0])) == ["a1", "a2"]
        assert list(await worker.claim(run=runs[1])) == ["b1", "b2"]

    async def test_both_kinds_of_worker_share_a_run(self, store: Store) -> None:
        ordinary, own = await new_worker(store), await new_worker(store)
        run = await new_run(store, {"a": [], "b": [], "c": [], "d": ["a"]})

        first = await own.claim(1, run=run)
        second = await ordinary.claim(1)
        third = await own.claim(run=run)
        await own.settle(succeeded(first["a"]))
        fourth = await ordinary.claim()
        fifth = await own.claim(run=run)

        assert [list(each) for each in (first, second, third, fourth, fifth)] == [
            ["a"],
            ["b"],
            ["c"],
            ["d"],
            [],
        ]

    async def test_a_run_that_has_ended_gives_nothing(self, store: Store) -> None:
        worker = await new_worker(store)
        run = await new_run(store, {"a": []})
        claims = await worker.claim(run=run)
        await worker.settle(succeeded(claims["a"]))

        turn = await worker.turn(run=run)

        assert (list(turn.claims), turn.next_due) == ([], None)

    async def test_a_run_that_does_not_exist_gives_nothing(self, store: Store) -> None:
        worker = await new_worker(store)
        await new_run(store, {"a": []})

        turn = await store.turn(worker.id, [], Capacity(run_id=999_999_999, slots=5))

        assert list(turn.claims) == []


class NextDueContract(StoreSuite):
    """How long a worker may sleep."""

    async def test_an_empty_store_has_nothing_due(self, store: Store) -> None:
        worker = await new_worker(store)

        assert (await worker.turn()).next_due is None

    async def test_the_first_timed_job_is_what_is_next(self, store: Store) -> None:
        worker = await new_worker(store)
        start = await now(store)
        await new_run(store, {"later": []}, at=start + 5 * HOUR)
        await new_run(store, {"sooner": []}, at=start + HOUR)

        assert_about(HOUR, (await worker.turn()).next_due)
        await self.advance(store, HOUR / 2)
        assert_about(HOUR / 2, (await worker.turn()).next_due)

    async def test_who_claims_is_not_told_when_to_come_back(self, store: Store) -> None:
        worker = await new_worker(store)
        await new_run(store, {"a": []}, at=await now(store) + HOUR)
        await new_run(store, {"b": []})

        turn = await worker.turn()

        assert (len(turn.claims), turn.next_due) == (1, None)

    async def test_another_queue_does_not_count(self, store: Store) -> None:
        worker = await new_worker(store)
        await new_run(store, {"a": []}, queue="mail", at=await now(store) + HOUR)

        assert (await worker.turn()).next_due is None
        assert_about(HOUR, (await worker.turn(queue="mail")).next_due)

    async def test_another_run_does_not_count(self, store: Store) -> None:
        worker = await new_worker(store)
        start = await now(store)
        sooner = await new_run(store, {"a": []}, at=start + HOUR)
        later = await new_run(store, {"b": []}, queue="mail", at=start + 2 * HOUR)

        assert_about(HOUR, (await worker.turn(run=sooner)).next_due)
        assert_about(2 * HOUR, (await worker.turn(run=later)).next_due)

    async def test_what_was_claimed_or_ended_does_not_count(self, store: Store) -> None:
        worker = await new_worker(store)
        start = await now(store)
        run = await new_run(store, {"a": []}, at=start + HOUR)
        await new_run(store, {"b": []}, at=start + 2 * HOUR)
        await store.cancel_run(run.id)

        assert_about(2 * HOUR, (await worker.turn()).next_due)

    async def test_what_only_lacks_room_does_not_count(self, store: Store) -> None:
        worker = await new_worker(store)
        run = await new_run(store, {"a": [], "b": []}, at=await now(store) + HOUR)
        await self.advance(store, 2 * HOUR)

        assert (await worker.turn(slots=0)).next_due is None
        assert (await worker.turn(slots=0, run=run)).next_due is None

    async def test_a_delayed_retry_counts(self, store: Store) -> None:
        worker = await new_worker(store)
        run = await new_run(store, {"a": []})
        claims = await worker.claim()

        turn = await worker.turn(retried(claims["a"], HOUR))

        assert_about(HOUR, turn.next_due)
        assert_about(HOUR, (await worker.turn(run=run)).next_due)

    async def test_a_wait_counts_by_its_deadline(self, store: Store) -> None:
        worker = await new_worker(store)
        run = await new_run(store, {"a": []})
        claims = await worker.claim()

        turn = await worker.turn(waited(claims["a"], timeout=HOUR))

        assert_about(HOUR, turn.next_due)
        assert_about(HOUR, (await worker.turn(run=run)).next_due)

    async def test_a_wait_without_a_deadline_does_not_count(self, store: Store) -> None:
        worker = await new_worker(store)
        run = await new_run(store, {"a": []})
        claims = await worker.claim()

        turn = await worker.turn(waited(claims["a"]))

        assert turn.next_due is None
        assert (await worker.turn(run=run)).next_due is None


async def one_by_one(worker: Worker, run: SmallRun | None = None) -> list[str]:
    """Claim one after the other, until there is nothing left."""
    names = []
    while claims := await worker.claims(1, run=run):
        names += [short_name(claim) for claim in claims]
    return names


def assert_about(expected: timedelta, actual: timedelta | None) -> None:
    """Allow for the time that a real clock has gone on meanwhile."""
    assert actual is not None
    assert expected - TOLERANCE <= actual <= expected
