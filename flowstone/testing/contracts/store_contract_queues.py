"""Queues at run time: paused, limited, scaled; whatever claims from them."""

from datetime import timedelta

from flowstone.core.contracts.queues import QueueLimits, QueueRecord
from flowstone.core.contracts.store import Capacity, Store, WorkerInfo
from flowstone.core.rate import Rate
from flowstone.testing.contracts.store_contract_jobs import enqueued, ids, new_job
from flowstone.testing.contracts.store_runs import (
    QUEUE,
    failed,
    handed_back,
    new_run,
    new_worker,
    succeeded,
)
from flowstone.testing.contracts.store_suite import StoreSuite

MINUTE = timedelta(minutes=1)
THREE_A_MINUTE = Rate(3, MINUTE)


async def status(store: Store, queue: str = QUEUE) -> QueueRecord:
    [record] = await store.queues(queue)
    return record


class PauseContract(StoreSuite):
    """Nothing of a paused queue is claimed."""

    async def test_what_is_due_waits_for_the_resume(self, store: Store) -> None:
        [now_due, timed] = await enqueued(store, new_job(), new_job(delay=MINUTE))
        worker = await new_worker(store)
        await self.advance(store, 2 * MINUTE)
        await store.pause_queue(QUEUE)
        await store.pause_queue(QUEUE)

        turn = await worker.turn()
        assert (turn.claims, turn.next_due, turn.held) == ([], None, None)
        assert (await status(store)).is_paused

        await store.resume_queue(QUEUE)
        assert sorted(ids(await worker.claims())) == [now_due, timed]
        assert not (await status(store)).is_paused

    async def test_another_queue_goes_on(self, store: Store) -> None:
        _, other = await enqueued(store, new_job(), new_job(queue="other"))
        await store.pause_queue(QUEUE)

        worker = await new_worker(store)
        turn = await store.turn(worker.id, [], Capacity({QUEUE: 5, "other": 5}))
        assert ids(turn.claims) == [other]

    async def test_what_runs_ends_and_makes_nothing_start(self, store: Store) -> None:
        run = await new_run(store, {"a": [], "b": ["a"]})
        worker = await new_worker(store)
        [claim] = await worker.claims()
        await store.pause_queue(QUEUE)

        turn = await worker.turn(succeeded(claim))
        assert (turn.refused, turn.claims) == ([], [])
        await store.resume_queue(QUEUE)
        assert ids(await worker.claims()) == [run["b"]]

    async def test_a_run_worked_on_alone_obeys_and_goes_on_elsewhere(self, store: Store) -> None:
        run = await new_run(store, {"a": [], "b": []}, queues={"b": "other"})
        worker = await new_worker(store)
        await store.pause_queue(QUEUE)

        of_run = Capacity(run_id=run.id, slots=1)
        turn = await store.turn(worker.id, [], of_run)
        assert ids(turn.claims) == [run["b"]]
        turn = await store.turn(worker.id, [], of_run)
        assert turn.claims == []
        assert turn.next_due is None or turn.next_due >= timedelta(seconds=0.9)

        await store.resume_queue(QUEUE)
        assert ids((await store.turn(worker.id, [], of_run)).claims) == [run["a"]]

    async def test_resuming_what_is_not_paused_is_nothing(self, store: Store) -> None:
        await store.resume_queue(QUEUE)
        assert await store.queues() == []


class MaxRunningContract(StoreSuite):
    """Never more than max_running run at once, whoever runs them."""

    async def test_it_holds_over_all_workers(self, store: Store) -> None:
        await enqueued(store, *[new_job()] * 9)
        await store.limit_queue(QUEUE, max_running=3)
        first, second = await new_worker(store), await new_worker(store)

        begun = await first.claims(slots=2)
        turn = await second.turn()
        assert (len(begun), len(turn.claims)) == (2, 1)
        assert turn.held is not None
        assert turn.held <= timedelta(seconds=1)
        assert await first.claims() == []

    async def test_what_ends_makes_room_in_the_same_turn(self, store: Store) -> None:
        await enqueued(store, *[new_job()] * 9)
        await store.limit_queue(QUEUE, max_running=3)
        worker = await new_worker(store)
        claims = await worker.claims()

        turn = await worker.turn(succeeded(claims[0]), failed(claims[1]))
        assert len(turn.claims) == 2
        assert (await status(store)).running == 3

    async def test_a_dead_worker_gives_its_room_back(self, store: Store) -> None:
        await enqueued(store, *[new_job()] * 9)
        await store.limit_queue(QUEUE, max_running=3)
        dead = await new_worker(store, lease=timedelta(seconds=10))
        assert len(await dead.claims()) == 3
        await self.advance(store, timedelta(seconds=11))
        worker = await new_worker(store)
        assert await worker.claims() == []

        await store.rescue(max_rescues=3)
        assert len(await worker.claims()) == 3

    async def test_assets_and_jobs_share_it_and_so_do_runs_worked_on_alone(
        self, store: Store
    ) -> None:
        await enqueued(store, *[new_job()] * 2)
        run = await new_run(store, {"a": [], "b": [], "c": []})
        await store.limit_queue(QUEUE, max_running=2)
        worker = await new_worker(store)
        [claim] = await worker.claims(slots=1)

        of_run = Capacity(run_id=run.id, slots=9)
        turn = await store.turn(worker.id, [], of_run)
        assert ids(turn.claims) == [run["a"]]
        assert turn.held is not None
        turn = await store.turn(worker.id, [succeeded(claim)], of_run)
        assert ids(turn.claims) == [run["b"]]

    async def test_an_empty_queue_is_not_held(self, store: Store) -> None:
        await enqueued(store, *[new_job()] * 2)
        await store.limit_queue(QUEUE, max_running=2)
        worker = await new_worker(store)
        turn = await worker.turn()
        assert len(turn.claims) == 2
        assert turn.held is None
        assert (await worker.turn()).held is None

    async def test_without_the_limit_there_is_none(self, store: Store) -> None:
        await enqueued(store, *[new_job()] * 9)
        await store.limit_queue(QUEUE, max_running=3)
        worker = await new_worker(store)
        assert len(await worker.claims()) == 3
        await store.limit_queue(QUEUE, max_running=None)
        assert len(await worker.claims()) == 6

    async def test_less_than_what_runs_lets_that_end(self, store: Store) -> None:
        await enqueued(store, *[new_job()] * 9)
        worker = await new_worker(store)
        claims = await worker.claims(slots=5)
        await store.limit_queue(QUEUE, max_running=3)

        turn = await worker.turn(*(succeeded(it) for it in claims[:2]))
        assert (turn.refused, turn.claims) == ([], [])
        assert len((await worker.turn(succeeded(claims[2]))).claims) == 1


class RateContract(StoreSuite):
    """Never more than so many start in any period."""

    async def test_the_period_has_to_pass(self, store: Store) -> None:
        await enqueued(store, *[new_job()] * 9)
        await store.limit_queue(QUEUE, rate=THREE_A_MINUTE)
        worker = await new_worker(store)
        claims = await worker.claims()
        assert len(claims) == 3

        turn = await worker.turn(*(succeeded(it) for it in claims))
        assert turn.claims == []
        assert turn.held is not None
        assert timedelta(seconds=50) < turn.held <= MINUTE + timedelta(seconds=1)
        await self.advance(store, timedelta(seconds=40))
        assert await worker.claims() == []
        await self.advance(store, timedelta(seconds=21))
        assert len(await worker.claims()) == 3

    async def test_the_window_slides(self, store: Store) -> None:
        await enqueued(store, *[new_job()] * 9)
        await store.limit_queue(QUEUE, rate=THREE_A_MINUTE)
        worker = await new_worker(store)
        assert len(await worker.claims(slots=2)) == 2
        await self.advance(store, timedelta(seconds=40))
        turn = await worker.turn()
        assert len(turn.claims) == 1
        assert turn.held is not None
        assert turn.held <= timedelta(seconds=21)

        await self.advance(store, timedelta(seconds=21))
        assert len(await worker.claims()) == 2
        await self.advance(store, timedelta(seconds=38))
        assert await worker.claims() == []
        await self.advance(store, timedelta(seconds=3))
        assert len(await worker.claims()) == 1

    async def test_it_holds_over_all_workers_and_for_what_comes_again(self, store: Store) -> None:
        await enqueued(store, *[new_job()] * 2)
        await store.limit_queue(QUEUE, rate=THREE_A_MINUTE)
        first, second = await new_worker(store), await new_worker(store)
        claims = await first.claims()
        await first.settle(*(handed_back(it) for it in claims))

        assert len(await second.claims()) == 1

    async def test_a_run_worked_on_alone_obeys(self, store: Store) -> None:
        run = await new_run(store, {name: [] for name in "abcdef"})
        await store.limit_queue(QUEUE, rate=THREE_A_MINUTE)
        worker = await new_worker(store)
        of_run = Capacity(run_id=run.id, slots=9)
        turn = await store.turn(worker.id, [], of_run)
        assert len(turn.claims) == 3
        assert turn.held is not None
        assert (await store.turn(worker.id, [], of_run)).claims == []

    async def test_both_limits_hold_together(self, store: Store) -> None:
        await enqueued(store, *[new_job()] * 9)
        await store.limit_queue(QUEUE, rate=THREE_A_MINUTE, max_running=2)
        worker = await new_worker(store)
        claims = await worker.claims()
        assert len(claims) == 2
        turn = await worker.turn(*(succeeded(it) for it in claims))
        assert len(turn.claims) == 1


class LimitsContract(StoreSuite):
    """Who says a limit: code, or somebody at run time, who goes before it."""

    async def test_one_that_is_not_named_stays(self, store: Store) -> None:
        await store.limit_queue(QUEUE, max_running=2)
        await store.limit_queue(QUEUE, rate=THREE_A_MINUTE)
        record = await status(store)
        assert record.limits == QueueLimits(2, THREE_A_MINUTE)
        assert record.limits_from == "hand"

        await store.limit_queue(QUEUE, max_running=None)
        assert (await status(store)).limits == QueueLimits(None, THREE_A_MINUTE)

    async def test_a_worker_writes_what_its_code_says(self, store: Store) -> None:
        for most in (5, 6):
            said = {QUEUE: QueueLimits(most)}
            await store.register_worker(WorkerInfo("here", 1, [QUEUE], limits=said))
            record = await status(store)
            assert (record.limits, record.limits_from) == (QueueLimits(most), "code")

    async def test_code_leaves_alone_what_was_said_by_hand(self, store: Store) -> None:
        await store.declare_queues({QUEUE: QueueLimits(5)})
        await store.limit_queue(QUEUE, max_running=None)
        await store.declare_queues({QUEUE: QueueLimits(5)})
        record = await status(store)
        assert (record.limits, record.limits_from) == (QueueLimits(), "hand")

        await store.reset_queue_limits(QUEUE)
        await store.declare_queues({QUEUE: QueueLimits(5)})
        assert (await status(store)).limits == QueueLimits(5)

    async def test_a_pause_is_not_codes_to_end(self, store: Store) -> None:
        await store.pause_queue(QUEUE)
        await store.declare_queues({QUEUE: QueueLimits(5)})
        record = await status(store)
        assert record.is_paused
        assert record.limits == QueueLimits(5)

    async def test_nothing_is_left_of_what_was_taken_back(self, store: Store) -> None:
        await store.pause_queue(QUEUE)
        await store.limit_queue(QUEUE, max_running=2)
        await store.scale_queue(QUEUE, 3, worker=None)
        await store.resume_queue(QUEUE)
        await store.reset_queue_limits(QUEUE)
        await store.scale_queue(QUEUE, None, worker=None)
        assert await store.queues() == []


class ScaleContract(StoreSuite):
    """How many slots a worker is given while it runs."""

    async def test_what_is_said_for_one_goes_before_what_is_said_for_all(
        self, store: Store
    ) -> None:
        first, second = await new_worker(store), await new_worker(store)
        assert await store.slots(first.id) == {}
        assert await store.scale_queue(QUEUE, 3, worker=None)
        assert await store.scale_queue("mail", 7, worker=None)
        assert await store.scale_queue(QUEUE, 0, worker=first.id)

        assert await store.slots(first.id) == {QUEUE: 0, "mail": 7}
        assert await store.slots(second.id) == {QUEUE: 3, "mail": 7}
        await store.scale_queue(QUEUE, None, worker=first.id)
        await store.scale_queue("mail", None, worker=None)
        assert await store.slots(first.id) == {QUEUE: 3}

    async def test_a_worker_that_is_not_there_is_told(self, store: Store) -> None:
        assert not await store.scale_queue(QUEUE, 3, worker=10**6)
        assert await store.queues() == []

    async def test_workers_hear_of_it(self, store: Store) -> None:
        await store.listen()
        changes = [
            store.scale_queue(QUEUE, 3, worker=None),
            store.pause_queue(QUEUE),
            store.resume_queue(QUEUE),
            store.limit_queue(QUEUE, max_running=3),
            store.declare_queues({"mail": QueueLimits(3)}),
        ]
        for change in changes:
            with store.wakeups.watch(["queues"]) as watch:
                await change
                assert await watch.wait(10.0), "nothing was published"


class QueueStatusContract(StoreSuite):
    """What a queue holds, and when it is drained."""

    async def test_counts_what_is_there(self, store: Store) -> None:
        await enqueued(store, *[new_job()] * 3, new_job(delay=MINUTE), new_job(queue="mail"))
        worker = await new_worker(store)
        await worker.claims(slots=1)

        record = await status(store)
        assert (record.due, record.later, record.running) == (2, 1, 1)
        assert (record.slots, record.limits, record.limits_from) == (None, QueueLimits(), None)
        assert [it.name for it in await store.queues()] == [QUEUE, "mail"]
        assert (await status(store, "unheard")).due == 0

    async def test_drained_is_when_nothing_runs_or_is_due(self, store: Store) -> None:
        assert await store.is_drained(QUEUE)
        await enqueued(store, new_job(), new_job(delay=MINUTE), new_job(queue="mail"))
        assert not await store.is_drained(QUEUE)
        worker = await new_worker(store)
        [claim] = await worker.claims()
        assert not await store.is_drained(QUEUE)
        await worker.settle(succeeded(claim))
        assert await store.is_drained(QUEUE)

    async def test_a_paused_one_is_drained_when_nothing_runs(self, store: Store) -> None:
        await enqueued(store, new_job(), new_job())
        worker = await new_worker(store)
        [claim] = await worker.claims(slots=1)
        await store.pause_queue(QUEUE)
        assert not await store.is_drained(QUEUE)
        await worker.settle(succeeded(claim))
        assert await store.is_drained(QUEUE)


class QueuesContract(
    PauseContract,
    MaxRunningContract,
    RateContract,
    LimitsContract,
    ScaleContract,
    QueueStatusContract,
):
    """All of it."""
