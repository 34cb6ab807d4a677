"""One of all works; whoever falls silent is replaced, and stops before that. Time leaps here."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import wraps
from typing import ParamSpec

import pytest

from flowstone.core.defaults.memory_store import MemoryStore
from flowstone.core.errors import DatabaseError
from flowstone.core.leadership import Work, lead
from tests.application.leaping_loop import LeapingLoop, LoopClock

P = ParamSpec("P")
LEASE = timedelta(seconds=30)


def leaping(story: Callable[P, Coroutine[object, object, None]]) -> Callable[P, None]:
    """Play a story on a loop whose time leaps: how fast the machine is does not matter."""

    @wraps(story)
    def play(*args: P.args, **kwargs: P.kwargs) -> None:
        with asyncio.Runner(loop_factory=LeapingLoop) as runner:
            runner.run(story(*args, **kwargs))

    return play


def a_store() -> MemoryStore:
    return MemoryStore(LoopClock())


@asynccontextmanager
async def candidate(store: MemoryStore, work: Work) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(lead(store, "sweep", work, lease=LEASE))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])


class Duty:
    """Work that says when it begins and ends, and how many of it there were at most."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.ended = asyncio.Event()
        self.at_once = 0
        self.most = 0
        self.terms = 0

    async def work(self) -> None:
        self.at_once += 1
        self.terms += 1
        self.most = max(self.most, self.at_once)
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.at_once -= 1
            self.ended.set()


class Unreachable(MemoryStore):
    """A store that can be made to answer nobody, or only one."""

    def __init__(self) -> None:
        super().__init__(LoopClock())
        self.is_away = False
        self.answers_late = False

    async def hold_lease(self, name: str, holder: str, duration: timedelta) -> bool:
        if self.is_away:
            raise DatabaseError("nobody answers", sqlstate="08006")
        held = await super().hold_lease(name, holder, duration)
        if self.answers_late:
            await asyncio.Event().wait()
        return held


@leaping
async def test_who_leads_goes_on_for_many_leases() -> None:
    store, duty = a_store(), Duty()
    renewals: list[bool] = []
    enough = asyncio.Event()

    class Counting(MemoryStore):
        async def hold_lease(self, name: str, holder: str, duration: timedelta) -> bool:
            renewals.append(await store.hold_lease(name, holder, duration))
            if len(renewals) > 10:
                enough.set()
            return renewals[-1]

    async with candidate(Counting(), duty.work):
        await enough.wait()

        assert all(renewals)
        assert (duty.terms, duty.at_once) == (1, 1)


@leaping
async def test_a_leader_that_died_is_replaced() -> None:
    store, duty = a_store(), Duty()
    await store.hold_lease("sweep", "died", LEASE)

    async with candidate(store, duty.work):
        await duty.begun.wait()

        assert not await store.hold_lease("sweep", "died", LEASE)


@leaping
async def test_one_that_stops_leaves_it_to_others_at_once() -> None:
    store, duty = a_store(), Duty()

    async with candidate(store, duty.work):
        await duty.begun.wait()

    assert duty.ended.is_set()
    assert await store.hold_lease("sweep", "next", LEASE)


@leaping
async def test_of_several_one_works_at_a_time() -> None:
    store, duty = a_store(), Duty()
    leaders: list[int] = []

    def candidacy(number: int) -> asyncio.Task[None]:
        async def work() -> None:
            leaders.append(number)
            await duty.work()

        return asyncio.create_task(lead(store, "sweep", work, lease=LEASE))

    tasks = [candidacy(number) for number in range(4)]

    for _ in tasks:
        await duty.begun.wait()
        duty.begun.clear()
        tasks[leaders[-1]].cancel()
        await asyncio.wait([tasks[leaders[-1]]])

    assert sorted(leaders) == [0, 1, 2, 3]
    assert duty.most == 1


@pytest.mark.parametrize("fault", ["is_away", "answers_late"])
@leaping
async def test_one_that_cannot_renew_stops_before_it_is_replaced(fault: str) -> None:
    store, duty = Unreachable(), Duty()

    async with candidate(store, duty.work):
        await duty.begun.wait()
        setattr(store, fault, True)
        await duty.ended.wait()

        duty.begun.clear()
        setattr(store, fault, False)
        await duty.begun.wait()


@leaping
async def test_one_that_was_replaced_stops() -> None:
    store, duty = a_store(), Duty()

    async with candidate(store, duty.work):
        await duty.begun.wait()
        store._leases["sweep"] = ("another", LoopClock().now() + timedelta(hours=1))

        await duty.ended.wait()


@leaping
async def test_work_that_breaks_down_is_begun_again(caplog: pytest.LogCaptureFixture) -> None:
    store, duty = a_store(), Duty()

    async def work() -> None:
        if not caplog.records:
            raise ValueError("no")
        await duty.work()

    async with candidate(store, work):
        await duty.begun.wait()

    assert "'sweep' broke down" in caplog.text
