"""A strategy whose assets wait for somebody outside, or until their time is up."""

from datetime import timedelta
from typing import cast

from flowstone import Context
from flowstone.core.contracts.strategy import Execution, Strategy
from flowstone.core.outcome import Outcome, Stored, Waiting, Wake
from tests.chaos.audit import Made
from tests.chaos.behavior import Body

WAITING_ON = "chaos"


class Wakeable(Strategy):
    """
    Waits after its function, and stores what it was woken with.

    Args:
        timeout: Seconds; None waits for ever.
    """

    def __init__(self, body: Body, timeout: float | None) -> None:
        self._body = body
        self._timeout = timeout

    async def start(self, execution: Execution) -> Outcome:
        made = await execution.call()
        assert isinstance(made, Made)
        state = {"inputs": list(made.inputs)}
        limit = None if self._timeout is None else timedelta(seconds=self._timeout)
        return Waiting(WAITING_ON, state=state, timeout=limit)

    async def resume(self, execution: Execution, wake: Wake) -> Outcome:
        ctx: Context = Context(
            asset=execution.asset.full_name,
            partition=execution.partition,
            run_id=execution.run_id,
            materialization_id=execution.materialization_id,
            attempt=execution.attempt,
        )
        state = cast("dict[str, list[str]]", wake.state)
        inputs: list[Made | None] = [Made(token, 0) for token in state["inputs"]]
        payload = {"timed_out": wake.timed_out, "payload": wake.payload}
        made = self._body.begin(ctx, inputs, payload)
        self._body.end(made, "value")
        return Stored(made)
