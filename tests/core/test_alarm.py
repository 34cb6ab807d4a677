"""When an alarm rings, on each loop that a worker may run on."""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any

import pytest
import uvloop

from flowstone.core.alarm import Alarm

LOOPS = pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])


def play(
    loop: Callable[[], asyncio.AbstractEventLoop], story: Callable[[], Coroutine[Any, Any, None]]
) -> None:
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(story())


@LOOPS
@pytest.mark.parametrize("seconds", [(0, 60), (60, 0), (0, 0)])
def test_it_rings_once_for_the_earliest(
    loop: Callable[[], asyncio.AbstractEventLoop], seconds: tuple[int, int]
) -> None:
    async def story() -> None:
        rings: list[None] = []
        rung = asyncio.Event()
        alarm = Alarm(lambda: (rings.append(None), rung.set())[1])
        for it in seconds:
            alarm.set(timedelta(seconds=it))
        await asyncio.wait_for(rung.wait(), 10)
        await asyncio.sleep(0)
        alarm.off()
        assert len(rings) == 1

    play(loop, story)


@LOOPS
def test_it_can_be_set_again_once_it_has_rung(
    loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def story() -> None:
        rung = asyncio.Event()
        alarm = Alarm(rung.set)
        for _ in range(3):
            alarm.set(timedelta())
            await asyncio.wait_for(rung.wait(), 10)
            rung.clear()

    play(loop, story)


@LOOPS
def test_turned_off_it_does_not_ring(loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def story() -> None:
        rung = asyncio.Event()
        alarm = Alarm(rung.set)
        alarm.set(timedelta())
        alarm.off()
        for _ in range(3):
            await asyncio.sleep(0)
        assert not rung.is_set()

    play(loop, story)
