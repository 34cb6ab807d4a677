"""
An asset whose strategy begins in one process and goes on in another.

It opens the gate ``resuming-<attempt>`` when it is resumed, and goes on at ``resume-<attempt>``.
"""

import os
from collections.abc import Callable

from flowstone import Context, Definition, Dep, Pipeline
from flowstone.core.contracts.strategy import Execution, Strategy
from flowstone.core.json_value import JsonValue
from flowstone.core.outcome import Outcome, Stored, Waiting, Wake
from tests.scenarios.ledger import Ledger
from tests.scenarios.pipelines.made import Made, begin, made

halves = Pipeline("halves")

STATE: dict[str, JsonValue] = {
    "text": "żółć ☃",
    "numbers": [1, 2.5, None, True],
    "nested": {"empty": {}},
}


class TwoHalves(Strategy):
    """Calls the function at the start, waits, and stores what it has on either side of the wait."""

    async def start(self, execution: Execution) -> Outcome:
        first = await execution.call()
        assert isinstance(first, Made)
        state = {**STATE, "token": first.token, "started_by": os.getpid()}
        return Waiting("scenario", state=state)

    async def resume(self, execution: Execution, wake: Wake) -> Outcome:
        ledger = Ledger.of_this_process()
        ledger.open_gate(f"resuming-{execution.attempt}")
        await ledger.pass_gate(f"resume-{execution.attempt}")
        return Stored(
            {
                "on": wake.on,
                "state": wake.state,
                "payload": wake.payload,
                "timed_out": wake.timed_out,
                "attempt": execution.attempt,
                "resumed_by": os.getpid(),
            }
        )


def in_two_halves(function: Callable[..., object]) -> Definition[..., dict[str, object]]:
    return Definition(function, strategy=TwoHalves(), value_type=dict)


@halves.asset
async def before(ctx: Context) -> Made:
    return made(begin(ctx))


@halves.asset
@in_two_halves
async def waiting(ctx: Context, base: Made = Dep(before)) -> Made:
    return made(begin(ctx), base)


@halves.asset
async def behind(ctx: Context, base: dict[str, object] = Dep(waiting)) -> dict[str, object]:
    begin(ctx)
    return {"behind": base}
