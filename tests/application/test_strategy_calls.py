"""A strategy calls its function as often as it wants, at once if it wants."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from flowstone import Pipeline
from flowstone.core.asset import Definition, Phase
from flowstone.core.contracts.strategy import Execution, Strategy
from flowstone.core.outcome import Outcome, Stored, Wake
from tests.application.conftest import AppOf


class Sweep(Strategy):
    """Calls the function for several items at once."""

    async def start(self, execution: Execution) -> Outcome:
        items: Any = await execution.call_phase("items")
        found = await asyncio.gather(*[execution.call(item=item) for item in items])
        return Stored(await execution.call_phase("gather", results=found))

    async def resume(self, execution: Execution, wake: Wake) -> Outcome:
        raise NotImplementedError


def swept(body: Callable[..., Any]) -> Pipeline:
    p = Pipeline("p")

    def items() -> list[int]:
        return [1, 2, 3]

    async def gather(results: list[int]) -> int:
        return sum(results)

    phases = {"items": items, "gather": Phase(gather, supplied=["results"])}
    definition: Definition[..., int] = Definition(
        body, strategy=Sweep(), phases=phases, supplied=["item"], value_phase="gather"
    )
    p.asset(name="total")(definition)
    return p


class TestCalls:
    async def test_a_strategy_may_call_its_function_several_times_at_once(
        self, app_of: AppOf
    ) -> None:
        meeting = asyncio.Barrier(3)

        async def body(item: int) -> int:
            await meeting.wait()
            return item * 10

        app = await app_of(swept(body))

        assert await asyncio.wait_for(app.run("total"), 10) == 60

    async def test_and_so_it_may_with_a_plain_function(self, app_of: AppOf) -> None:
        meeting = threading.Barrier(3)

        def body(item: int) -> int:
            meeting.wait(60)
            return item * 10

        app = await app_of(swept(body))

        assert await asyncio.wait_for(app.run("total"), 10) == 60
