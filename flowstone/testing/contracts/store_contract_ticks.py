"""Ticks: each enqueued once, in the step that moves its schedule on."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

from flowstone.core.contracts.schedule_store import Advance, DueSchedule, Ticked
from flowstone.core.contracts.store import Store
from flowstone.core.unique_key import JobState, UniqueKey
from flowstone.testing.contracts.store_contract_schedules import (
    DAY,
    HOUR,
    due,
    new_schedule,
    one,
)
from flowstone.testing.contracts.store_runs import ODD_JSON, QUEUE, new_worker, succeeded
from flowstone.testing.contracts.store_suite import StoreSuite


async def tick(store: Store, *schedules: DueSchedule) -> Sequence[Ticked]:
    """Enqueue the tick of each and move it on by a day."""
    return await store.advance_schedules(
        [Advance(it, [it.next_at], it.next_at + DAY) for it in schedules]
    )


class TicksContract(StoreSuite):
    """A tick is enqueued once, in the step that moves its schedule on."""

    async def test_none_is_due_before_its_time(self, store: Store) -> None:
        await store.put_schedule(await new_schedule(store, first=HOUR))
        assert await due(store) == []

        await self.advance(store, HOUR)

        assert [it.name for it in await due(store)] == ["shop.nightly"]

    async def test_what_comes_next_is_told_while_nothing_is_due(self, store: Store) -> None:
        for name, hours in (("shop.b", 2), ("shop.a", 1), ("shop.c", 3)):
            await store.put_schedule(await new_schedule(store, name, first=hours * HOUR))

        now, [following] = await store.due_schedules(limit=100)

        assert following.name == "shop.a"
        assert timedelta(0) < following.next_at - now <= HOUR

    async def test_the_first_ones_that_are_due_are_told(self, store: Store) -> None:
        for number in range(5):
            name = f"shop.s{number}"
            await store.put_schedule(await new_schedule(store, name, first=-number * HOUR))

        _, found = await store.due_schedules(limit=3)

        assert [it.name for it in found] == ["shop.s4", "shop.s3", "shop.s2"]

    async def test_without_any_there_is_the_time(self, store: Store) -> None:
        before = await store.now()

        now, found = await store.due_schedules(limit=100)

        assert found == []
        assert before <= now <= await store.now()

    async def test_its_job_says_which_schedule_and_which_tick(self, store: Store) -> None:
        await store.put_schedule(await new_schedule(store, arguments=ODD_JSON, first=timedelta(0)))
        [found] = await due(store)

        [ticked] = await tick(store, found)

        assert (ticked.name, ticked.tick_at) == ("shop.nightly", found.next_at)
        [claim] = await (await new_worker(store)).claims()
        assert (claim.id, claim.asset, claim.arguments) == (ticked.job_id, "shop.mail", ODD_JSON)
        job = (await store.jobs([claim.id]))[claim.id]
        assert (job.schedule, job.tick_at) == ("shop.nightly", found.next_at)
        assert (job.queue, job.priority) == (QUEUE, 3)

    async def test_other_jobs_are_of_no_schedule(self, store: Store) -> None:
        await store.put_schedule(await new_schedule(store))
        triggered = await store.trigger_schedule("shop.nightly")
        await new_worker(store)

        assert triggered is not None
        assert (await store.jobs([triggered]))[triggered].tick_at is None

    async def test_the_schedule_is_moved_on(self, store: Store) -> None:
        await store.put_schedule(await new_schedule(store, first=timedelta(0)))
        [found] = await due(store)

        [ticked] = await tick(store, found)

        record = await one(store)
        assert record.next_at == found.next_at + DAY
        assert (record.last_at, record.last_job_id) == (found.next_at, ticked.job_id)
        assert await due(store) == []

    async def test_several_ticks_of_several_schedules_are_one_step(self, store: Store) -> None:
        for name in ("shop.a", "shop.b"):
            await store.put_schedule(await new_schedule(store, name, first=-2 * HOUR))
        first, second = await due(store)
        advances = [
            Advance(first, [first.next_at, first.next_at + HOUR], first.next_at + DAY),
            Advance(second, [second.next_at + HOUR], second.next_at + DAY),
        ]

        ticked = await store.advance_schedules(advances)

        found = sorted((it.name, it.tick_at) for it in ticked if it.tick_at is not None)
        assert found == [
            ("shop.a", first.next_at),
            ("shop.a", first.next_at + HOUR),
            ("shop.b", second.next_at + HOUR),
        ]
        jobs = await store.jobs([it.job_id for it in ticked if it.job_id is not None])
        assert sorted((str(it.schedule), it.tick_at) for it in jobs.values()) == found
        in_order = [jobs[id_].tick_at for id_ in sorted(jobs)]
        assert in_order == sorted(tick for _, tick in found)

    async def test_one_can_be_moved_on_without_a_job(self, store: Store) -> None:
        await store.put_schedule(await new_schedule(store, first=timedelta(0)))
        [found] = await due(store)

        ticked = await store.advance_schedules([Advance(found, [], found.next_at + DAY)])

        assert ticked == [Ticked("shop.nightly", None, None)]
        record = await one(store)
        assert (record.next_at, record.last_at) == (found.next_at + DAY, None)

    async def test_of_many_who_enqueue_a_tick_one_does(self, store: Store) -> None:
        for name in ("shop.a", "shop.b", "shop.c"):
            await store.put_schedule(await new_schedule(store, name, first=timedelta(0)))
        found = await due(store)
        orders = (found, found[::-1]) * 4

        done = await asyncio.gather(*(tick(store, *it) for it in orders))

        ticked = [it.name for part in done for it in part]
        # One whose row was held is passed over, and is due still.
        ticked += [it.name for it in await tick(store, *found)]
        assert sorted(ticked) == ["shop.a", "shop.b", "shop.c"]
        assert len(await (await new_worker(store)).claims()) == 3

    async def test_one_that_is_not_as_it_was_read_is_left_alone(self, store: Store) -> None:
        await store.put_schedule(await new_schedule(store, first=timedelta(0)))
        [found] = await due(store)
        next_at = (await one(store)).next_at

        async def is_left_alone() -> bool:
            return await tick(store, found) == [] and (await one(store)).last_at is None

        await store.pause_schedule("shop.nightly")
        assert await is_left_alone()
        await store.resume_schedule("shop.nightly", next_at)
        changed_cron = await new_schedule(store, cron="0 9 * * *")
        changed_cron.next_at = next_at
        await store.put_schedule(changed_cron)
        changed = await one(store)
        assert changed.next_at == found.next_at
        assert await is_left_alone()
        assert await one(store) == changed
        await store.remove_schedule("shop.nightly")
        assert await tick(store, found) == []
        assert await (await new_worker(store)).claims() == []

    async def test_who_comes_late_enqueues_nothing_though_the_next_tick_is_due_too(
        self, store: Store
    ) -> None:
        await store.put_schedule(await new_schedule(store, first=-2 * HOUR))
        [read] = await due(store)
        step = Advance(read, [read.next_at], read.next_at + HOUR)
        await store.advance_schedules([step])

        assert await store.advance_schedules([step]) == []

        assert (await one(store)).next_at == read.next_at + HOUR
        assert len(await (await new_worker(store)).claims()) == 1

    async def test_one_that_is_not_due_is_left_alone(self, store: Store) -> None:
        await store.put_schedule(await new_schedule(store, first=HOUR))
        _, [following] = await store.due_schedules(limit=1)

        assert await tick(store, following) == []

    async def test_a_unique_job_is_enqueued_by_the_tick_that_finds_none(self, store: Store) -> None:
        schedule = await new_schedule(store, first=-2 * HOUR)
        schedule.unique = UniqueKey("mail", frozenset([JobState.WAITING, JobState.RUNNING]))
        await store.put_schedule(schedule)
        [found] = await due(store)
        both = [found.next_at, found.next_at + HOUR]

        ticked = await store.advance_schedules([Advance(found, both, found.next_at + 2 * HOUR)])

        worker = await new_worker(store)
        [claim] = await worker.claims()
        assert [(it.tick_at, it.job_id) for it in ticked] == [(it, claim.id) for it in both]
        assert (await store.jobs([claim.id]))[claim.id].tick_at == both[0]
        assert await store.trigger_schedule(schedule.name) == claim.id
        await worker.settle(succeeded(claim))
        [found] = await due(store)

        [ticked_anew] = await tick(store, found)

        assert ticked_anew.job_id not in (None, claim.id)
        job_id = int(str(ticked_anew.job_id))
        assert (await store.jobs([job_id]))[job_id].tick_at == found.next_at

    async def test_what_was_enqueued_stays_when_its_schedule_goes(self, store: Store) -> None:
        await store.put_schedule(await new_schedule(store, first=timedelta(0)))
        await tick(store, *await due(store))

        await store.remove_schedule("shop.nightly")

        assert len(await (await new_worker(store)).claims()) == 1
