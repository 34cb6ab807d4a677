"""What is going on: queues, workers, what runs, what failed."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import pytest

from flowstone.core.contracts.activity import LATELY, QueueActivity
from flowstone.core.contracts.store import Store
from flowstone.testing.contracts.store_contract_jobs import enqueued, new_job
from flowstone.testing.contracts.store_runs import (
    ERROR,
    QUEUE,
    Settle,
    cancelled,
    failed,
    key,
    new_run,
    new_worker,
    now,
    retried,
    skipped,
    snoozed,
    succeeded,
    waited,
)
from flowstone.testing.contracts.store_suite import StoreSuite

HOUR = timedelta(hours=1)


async def queues(store: Store) -> Mapping[str, QueueActivity]:
    """Return the queues by name, which come sorted."""
    found = {it.name: it for it in (await store.activity()).queues}
    assert list(found) == sorted(found)
    return found


class ActivityContract(StoreSuite):
    """A look at all of it, for people."""

    async def test_nothing_goes_on_in_an_empty_store(self, store: Store) -> None:
        seen = await store.activity()

        assert (seen.queues, seen.workers, seen.running, seen.failures) == ([], [], [], [])
        assert abs(seen.seen_at - await now(store)) < timedelta(seconds=5)

    async def test_a_queue_tells_due_later_and_running(self, store: Store) -> None:
        await enqueued(store, *[new_job()] * 3, *[new_job(delay=HOUR)] * 2)
        await new_run(store, {"a": [], "b": ["a"]})
        await enqueued(store, new_job(queue="far", delay=HOUR))
        await (await new_worker(store)).claims(1)

        seen = await queues(store)
        assert seen == {
            QUEUE: QueueActivity(QUEUE, 3, 2, 1, 0),
            "far": QueueActivity("far", 0, 1, 0, 0),
        }
        await self.advance(store, 2 * HOUR)
        seen = await queues(store)
        assert (seen["far"].due, seen["far"].later) == (1, 0)
        assert (seen[QUEUE].due, seen[QUEUE].later) == (5, 0)

    async def test_jobs_of_a_limit_key_or_of_a_lane_are_told_like_others(
        self, store: Store
    ) -> None:
        keyed, laned = replace(new_job(), limit_key="a"), replace(new_job(), lane="one")
        elsewhere = replace(keyed, queue="elsewhere")
        later = replace(keyed, delay=HOUR, queue="far")
        await enqueued(store, keyed, keyed, laned, laned, elsewhere, later)
        worker = await new_worker(store)
        claims = await worker.claims()

        seen = await queues(store)
        assert seen == {
            QUEUE: QueueActivity(QUEUE, 1, 0, 3, 0),
            "elsewhere": QueueActivity("elsewhere", 1, 0, 0, 0),
            "far": QueueActivity("far", 0, 1, 0, 0),
        }
        await worker.settle(*map(succeeded, claims))
        done = (await queues(store))[QUEUE].per_second
        assert done == pytest.approx(3 / LATELY.total_seconds(), rel=0.1)

    async def test_a_queue_that_is_paused_says_so_though_it_holds_nothing(
        self, store: Store
    ) -> None:
        await enqueued(store)
        await store.pause_queue("far")
        assert [(it.name, it.is_paused) for it in (await store.activity()).queues] == [
            (QUEUE, False),
            ("far", True),
        ]
        await store.resume_queue("far")
        assert list(await queues(store)) == [QUEUE]

    async def test_what_waits_is_for_later(self, store: Store) -> None:
        await enqueued(store, *[new_job()] * 2)
        worker = await new_worker(store)
        first, second = await worker.claims()
        await worker.settle(waited(first), waited(second, timeout=HOUR))
        assert (await queues(store))[QUEUE] == QueueActivity(QUEUE, 0, 2, 0, 0)

        await self.advance(store, 2 * HOUR)
        assert (await queues(store))[QUEUE] == QueueActivity(QUEUE, 1, 1, 0, 0)

    async def test_a_queue_tells_what_was_lately_done(self, store: Store) -> None:
        await enqueued(store, *[new_job()] * 6)
        worker = await new_worker(store)
        ends: list[Settle] = [succeeded, failed, skipped, retried, snoozed, cancelled]
        claims = await worker.claims()
        await worker.settle(*(end(it) for end, it in zip(ends, claims, strict=True)))

        seen = (await queues(store))[QUEUE]
        assert seen.per_second == pytest.approx(3 / LATELY.total_seconds(), rel=0.1)
        await self.advance(store, LATELY + timedelta(seconds=1))
        assert (await queues(store))[QUEUE].per_second == 0

    async def test_a_worker_tells_what_it_has_and_when_it_has_beaten(self, store: Store) -> None:
        await enqueued(store, *[new_job()] * 3)
        idle = await new_worker(store, lease=HOUR)
        busy = await new_worker(store)
        claims = await busy.claims(2)
        await self.advance(store, timedelta(seconds=7))

        seen = await store.activity()
        first, second = seen.workers
        assert (first.worker_id, first.running, first.lease) == (idle.id, 0, HOUR)
        assert (second.worker_id, second.running) == (busy.id, 2)
        for it in (first, second):
            assert timedelta(seconds=7) <= seen.seen_at - it.heartbeat_at < timedelta(seconds=12)
            assert it.started_at <= it.heartbeat_at
        await store.heartbeat(busy.id)
        await busy.settle(*map(succeeded, claims))
        seen = await store.activity()
        assert seen.seen_at - seen.workers[1].heartbeat_at < timedelta(seconds=5)
        assert [it.running for it in seen.workers] == [0, 0]

    async def test_what_runs_the_longest_is_first(self, store: Store) -> None:
        [job_id] = await enqueued(store)
        worker = await new_worker(store)
        await worker.claims()
        await self.advance(store, HOUR)
        run = await new_run(store, {"a": []}, partition="x")
        other = await new_worker(store)
        await other.claims()
        await enqueued(store)

        seen = await store.activity()
        job, asset = seen.running
        assert (job.id, job.run_id, job.name, job.worker_id) == (
            *(job_id, None, "test.mail"),
            worker.id,
        )
        assert (asset.id, asset.run_id, asset.name, asset.partition) == (
            *(run["a"], run.id),
            *(key("a").asset, "x"),
        )
        assert (asset.queue, asset.attempt, asset.worker_id) == (QUEUE, 1, other.id)
        assert HOUR <= seen.seen_at - job.started_at < HOUR + timedelta(seconds=5)
        assert [it.id for it in (await store.activity(most=1)).running] == [job_id]

    async def test_what_failed_last_is_first(self, store: Store) -> None:
        [old] = await enqueued(store)
        run = await new_run(store, {"a": []})
        worker = await new_worker(store)
        claims = {it.id: it for it in await worker.claims()}
        await worker.settle(failed(claims[run["a"]]))
        await self.advance(store, HOUR)
        await worker.settle(failed(claims[old], '{"message": "again"}'))

        seen = await store.activity()
        assert [(it.id, it.run_id, it.name, it.error) for it in seen.failures] == [
            (old, None, "test.mail", '{"message": "again"}'),
            (run["a"], run.id, "test.a", ERROR),
        ]
        assert seen.failures[0].attempt == 1
        assert HOUR <= seen.seen_at - seen.failures[1].failed_at < HOUR + timedelta(seconds=5)
        assert [it.id for it in (await store.activity(most=1)).failures] == [old]
