"""A test signals what waits, and lets its time be up."""

import pytest

from flowstone import Context, FlowStone, Pipeline
from flowstone.core.errors import RunFailedError
from flowstone.plugins.signal_gate import Wait, signal_gate
from flowstone.testing import Applications, Drained, advance, drain, send_signal


def an_app_that_waits() -> FlowStone:
    p = Pipeline("p")

    async def on_signal(payload: int) -> int:
        return payload + 1

    @p.asset
    @signal_gate(on_signal=on_signal, timeout="1h")
    async def task(ctx: Context) -> Wait:
        return Wait(f"nobody has to know {ctx.partition}")

    return FlowStone(p)


@pytest.mark.flowstone_both
class TestSignaling:
    async def test_lets_what_waits_go_on(self, flowstone_app: Applications) -> None:
        async with flowstone_app(an_app_that_waits()) as app:
            handle = await app.enqueue("p.task")
            await drain(app)

            await send_signal(app, "p.task", 7)

            assert await drain(app) == Drained(succeeded=1)
            assert await handle.result() == 8

    async def test_signals_the_gate_of_one_partition(self, flowstone_app: Applications) -> None:
        async with flowstone_app(an_app_that_waits()) as app:
            handles = [await app.enqueue("p.task", partition=it) for it in "ab"]
            await drain(app)

            await send_signal(app, "p.task", 7, partition="b")

            assert await drain(app) == Drained(succeeded=1)
            assert await handles[1].result() == 8

    async def test_needs_a_gate_that_is_open(self, flowstone_app: Applications) -> None:
        async with flowstone_app(an_app_that_waits()) as app:
            with pytest.raises(AssertionError, match=r"p\.task\[\] waits at 0 gates"):
                await send_signal(app, "p.task", 7)

    async def test_is_too_late_once_the_time_is_up(self, flowstone_app: Applications) -> None:
        async with flowstone_app(an_app_that_waits()) as app:
            handle = await app.enqueue("p.task")
            await drain(app)

            await advance(app, "61m")

            assert await drain(app) == Drained(failed=1)
            with pytest.raises(RunFailedError, match="no signal came"):
                await handle.result()
