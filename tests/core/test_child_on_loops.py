"""A child process begins and ends on each loop that a worker may run on."""

import asyncio
import os
from collections.abc import Callable

import pytest
import uvloop

from flowstone.core.processes.child import Child


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_it_begins_apart_from_the_terminals_signals_and_ends(
    loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def story() -> None:
        child = await Child.start()
        assert child.is_well
        assert os.getpgid(child.pid) == child.pid != os.getpgid(0)
        await child.end()
        assert not child.is_well

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(story())
