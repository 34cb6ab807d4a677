"""Schedules: kept as their code has them, and changed at run time."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

from flowstone.core.contracts.schedule_store import (
    Advance,
    DueSchedule,
    NewSchedule,
    ScheduleRecord,
)
from flowstone.core.contracts.store import JsonText, Store
from flowstone.core.missed import Missed
from flowstone.core.unique_key import JobState, OnConflict, UniqueKey
from flowstone.testing.contracts.store_runs import ODD_JSON, QUEUE
from flowstone.testing.contracts.store_suite import StoreSuite

HOUR = timedelta(hours=1)
UNIQUE = UniqueKey("mail", frozenset([JobState.WAITING, JobState.FAILED]), HOUR, OnConflict.REPLACE)
DAY = timedelta(days=1)


async def new_schedule(
    store: Store,
    name: str = "shop.nightly",
    *,
    cron: str = "0 8 * * *",
    arguments: JsonText = "{}",
    missed: Missed = "one",
    first: timedelta = DAY,
) -> NewSchedule:
    """Return a schedule whose first tick comes so much later."""
    return NewSchedule(
        name=name,
        pipeline=name.partition(".")[0],
        job="shop.mail",
        arguments=arguments,
        queue=QUEUE,
        priority=3,
        cron=cron,
        timezone="UTC",
        missed=missed,
        next_at=await store.now() + first,
    )


async def names(store: Store) -> list[str]:
    return [it.name for it in await store.schedules()]


async def one(store: Store) -> ScheduleRecord:
    [record] = await store.schedules()
    return record


async def due(store: Store) -> list[DueSchedule]:
    """Return what is due now."""
    now, found = await store.due_schedules(limit=100)
    return [it for it in found if it.next_at <= now]


class SynchronizingContract(StoreSuite):
    """The rows are as the code has them; what is not of that code is left alone."""

    async def test_they_come_back_as_they_were_said(self, store: Store) -> None:
        schedule = await new_schedule(store, arguments=ODD_JSON, missed="all")
        schedule.unique = UNIQUE

        await store.synchronize_schedules(["shop"], [schedule])

        record = await one(store)
        said = {name: getattr(record, name) for name in NewSchedule.__dataclass_fields__}
        assert NewSchedule(**said) == schedule
        assert (record.source, record.paused_at, record.last_at) == ("code", None, None)

    async def test_those_gone_from_the_code_are_deleted(self, store: Store) -> None:
        both = [await new_schedule(store, it) for it in ("shop.a", "shop.b")]
        await store.synchronize_schedules(["shop"], both)

        await store.synchronize_schedules(["shop"], both[:1])

        assert await names(store) == ["shop.a"]

    async def test_those_of_other_pipelines_stay(self, store: Store) -> None:
        await store.synchronize_schedules(["shop"], [await new_schedule(store, "shop.a")])

        await store.synchronize_schedules(["bank"], [await new_schedule(store, "bank.b")])
        await store.synchronize_schedules(["bank"], [])

        assert await names(store) == ["shop.a"]

    async def test_those_added_at_run_time_stay(self, store: Store) -> None:
        await store.put_schedule(await new_schedule(store, "shop.added"))

        await store.synchronize_schedules(["shop"], [await new_schedule(store, "shop.a")])
        await store.synchronize_schedules(["shop"], [])

        assert await names(store) == ["shop.added"]

    async def test_the_code_takes_over_one_of_its_name(self, store: Store) -> None:
        await store.put_schedule(await new_schedule(store))

        await store.synchronize_schedules(["shop"], [await new_schedule(store)])

        assert (await one(store)).source == "code"

    async def test_one_that_is_paused_stays_so_when_it_changes(self, store: Store) -> None:
        await store.synchronize_schedules(["shop"], [await new_schedule(store)])
        await store.pause_schedule("shop.nightly")

        changed = await new_schedule(store, cron="0 9 * * *")
        await store.synchronize_schedules(["shop"], [changed])

        record = await one(store)
        assert record.cron == "0 9 * * *"
        assert record.paused_at is not None

    async def test_one_whose_time_is_the_same_keeps_its_next_tick(self, store: Store) -> None:
        await store.synchronize_schedules(["shop"], [await new_schedule(store, first=HOUR)])
        before = await one(store)

        changed = await new_schedule(store, first=DAY, arguments='{"to": "Ada"}')
        await store.synchronize_schedules(["shop"], [changed])

        record = await one(store)
        assert (record.next_at, record.arguments) == (before.next_at, '{"to": "Ada"}')

    async def test_one_whose_time_has_changed_begins_anew(self, store: Store) -> None:
        await store.synchronize_schedules(["shop"], [await new_schedule(store, first=HOUR)])

        changed = await new_schedule(store, first=DAY, cron="0 9 * * *")
        await store.synchronize_schedules(["shop"], [changed])

        assert (await one(store)).next_at == changed.next_at

    async def test_one_that_had_no_further_tick_begins_anew(self, store: Store) -> None:
        schedule = await new_schedule(store, first=timedelta(0))
        await store.synchronize_schedules(["shop"], [schedule])
        [found] = await due(store)
        await store.advance_schedules([Advance(found, [], None)])
        assert await due(store) == []

        again = await new_schedule(store, first=HOUR)
        await store.synchronize_schedules(["shop"], [again])

        assert (await one(store)).next_at == again.next_at

    async def test_many_workers_may_start_at_once(self, store: Store) -> None:
        schedules = [await new_schedule(store, f"shop.s{number}") for number in range(20)]
        orders = (schedules, schedules[::-1]) * 4

        await asyncio.gather(*(store.synchronize_schedules(["shop"], it) for it in orders))

        assert await names(store) == sorted(it.name for it in schedules)


class ScheduleChangesContract(StoreSuite):
    """Schedules are added, removed, paused and triggered while workers work."""

    async def test_one_that_is_added_again_is_changed(self, store: Store) -> None:
        assert await store.put_schedule(await new_schedule(store))

        assert await store.put_schedule(await new_schedule(store, cron="0 9 * * *"))

        assert [(it.cron, it.source) for it in await store.schedules()] == [
            ("0 9 * * *", "runtime")
        ]

    async def test_nothing_is_added_in_the_place_of_the_codes(self, store: Store) -> None:
        await store.synchronize_schedules(["shop"], [await new_schedule(store)])

        assert not await store.put_schedule(await new_schedule(store, cron="0 9 * * *"))

        record = await one(store)
        assert (record.cron, record.source) == ("0 8 * * *", "code")

    async def test_what_was_added_can_be_removed_and_the_codes_cannot(self, store: Store) -> None:
        await store.synchronize_schedules(["shop"], [await new_schedule(store)])
        await store.put_schedule(await new_schedule(store, "shop.added"))

        assert await store.remove_schedule("shop.added") == "runtime"
        assert await store.remove_schedule("shop.added") is None
        assert await store.remove_schedule("shop.nightly") == "code"

        assert await names(store) == ["shop.nightly"]

    async def test_one_that_is_paused_is_not_due(self, store: Store) -> None:
        await store.put_schedule(await new_schedule(store, first=timedelta(0)))

        assert await store.pause_schedule("shop.nightly")
        first = (await one(store)).paused_at
        assert await store.pause_schedule("shop.nightly")

        assert await due(store) == []
        assert (await one(store)).paused_at == first

    async def test_one_that_is_resumed_goes_on_with_the_tick_given(self, store: Store) -> None:
        await store.put_schedule(await new_schedule(store, first=timedelta(0)))
        await store.pause_schedule("shop.nightly")
        later = await store.now() + HOUR

        assert await store.resume_schedule("shop.nightly", later)

        record = await one(store)
        assert (record.paused_at, record.next_at) == (None, later)
        assert await due(store) == []

    async def test_resuming_what_is_not_paused_changes_nothing(self, store: Store) -> None:
        await store.put_schedule(await new_schedule(store))
        before = await one(store)

        assert await store.resume_schedule("shop.nightly", await store.now())

        assert await one(store) == before

    async def test_of_what_is_not_there_nothing_is_changed(self, store: Store) -> None:
        assert not await store.pause_schedule("shop.none")
        assert not await store.resume_schedule("shop.none", await store.now())
        assert await store.trigger_schedule("shop.none") is None

    async def test_one_that_is_triggered_enqueues_its_job_for_no_tick(self, store: Store) -> None:
        await store.put_schedule(await new_schedule(store, arguments=ODD_JSON))
        await store.pause_schedule("shop.nightly")
        before = await one(store)

        job_id = await store.trigger_schedule("shop.nightly")

        assert job_id is not None
        job = (await store.jobs([job_id]))[job_id]
        assert (job.name, job.arguments, job.queue, job.priority) == (
            "shop.mail",
            ODD_JSON,
            QUEUE,
            3,
        )
        assert (job.schedule, job.tick_at) == ("shop.nightly", None)
        after = await one(store)
        assert (after.next_at, after.last_at) == (before.next_at, None)
        assert after.last_job_id == job_id

    async def test_changes_are_published(self, store: Store) -> None:
        await store.listen()
        schedule = await new_schedule(store)
        changed = await new_schedule(store, cron="0 9 * * *")
        with store.wakeups.watch(["schedules"]) as watch:
            watch.take()
            changes: dict[str, Callable[[], Awaitable[object]]] = {
                "adding": lambda: store.put_schedule(schedule),
                "pausing": lambda: store.pause_schedule(schedule.name),
                "resuming": lambda: store.resume_schedule(schedule.name, schedule.next_at),
                "removing": lambda: store.remove_schedule(schedule.name),
                "new code": lambda: store.synchronize_schedules(["shop"], [schedule]),
                "changed code": lambda: store.synchronize_schedules(["shop"], [changed]),
                "code that is gone": lambda: store.synchronize_schedules(["shop"], []),
            }
            for what, change in changes.items():
                await change()
                heard: set[str] = set()
                while "schedules" not in heard:
                    heard = await watch.wait(10.0)
                    assert heard, f"{what} was not published"


class SchedulesContract(SynchronizingContract, ScheduleChangesContract):
    """All of it."""
