"""One asset with a gate for each step at which a worker may die, on a queue of its own."""

from collections.abc import Callable

from flowstone import Context, Pipeline
from flowstone.plugins.signal_gate import Wait, signal_gate
from tests.scenarios.pipelines.gates import note

dying_gates = Pipeline("dying")

STEPS = (
    "before_create",
    "after_create",
    "after_early",
    "before_go_on",
    "after_go_on",
    "after_time_out",
)
TIMED = "after_time_out"


def nothing() -> None: ...


after_on_signal: Callable[[], None] = nothing
"""What a worker that is to die there puts in."""


async def on_signal(ctx: Context[str], payload: int) -> int:
    note("signaled", ctx)
    after_on_signal()
    return payload


def make(step: str) -> None:
    @dying_gates.asset(name=step, queue=step)
    @signal_gate(on_signal=on_signal, on_timeout="fail", timeout="300ms" if step == TIMED else "1h")
    async def gate(ctx: Context[str]) -> Wait:
        note("begun", ctx)
        return Wait(f"{step} {ctx.attempt}" if step == "before_create" else step)


for each in STEPS:
    make(each)
