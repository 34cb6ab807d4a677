"""A pipeline with a gate, and what its tests do to it again and again."""

from dataclasses import dataclass, field
from typing import Any

from flowstone import Dep, FlowStone, Pipeline, Retry
from flowstone.core.handle import RunHandle
from flowstone.plugins.signal_gate import Callback, Gate, GateCoordinator, Wait, signal_gate
from tests.application.stage import drain

SECRET = "0123456789abcdef0123456789abcdef"


@dataclass(frozen=True)
class Done:
    """What the sender has to say."""

    pages: int
    words: list[str] = field(default_factory=list)


@dataclass
class Story:
    """What the functions of the pipeline were called with."""

    bodies: int = 0
    payloads: list[Done] = field(default_factory=list)
    lates: int = 0
    failures: list[Exception] = field(default_factory=list)
    late_failures: list[Exception] = field(default_factory=list)
    then: Any = None
    """What ``on_signal`` returns instead of the pages."""


def gated(
    story: Story, *, token: str | None = "task", retry: Retry | None = None, **options: Any
) -> Pipeline:
    """Return ``p.after`` of ``p.gate`` of ``p.base``; without a token it has one of a callback."""
    p = Pipeline("p")

    @p.asset
    async def base() -> int:
        return 1

    async def on_signal(payload: Done, base: int = Dep(base)) -> int:
        story.payloads.append(payload)
        if story.failures:
            raise story.failures.pop()
        return payload.pages + base if story.then is None else story.then

    async def on_late() -> int:
        story.lates += 1
        if story.late_failures:
            raise story.late_failures.pop()
        return -1

    if options.get("on_timeout") == "call":
        options["on_timeout"] = on_late

    if token is None:

        @p.asset(retry=retry)
        @signal_gate(on_signal=on_signal, **options)
        async def gate(callback: Callback, base: int = Dep(base)) -> Wait:
            story.bodies += 1
            return Wait(callback.token, {"url": callback.url})

    else:

        @p.asset(name="gate", retry=retry)
        @signal_gate(on_signal=on_signal, **options)
        async def gate_with_token(base: int = Dep(base)) -> Wait:
            story.bodies += 1
            return Wait(token, {"body": story.bodies})

    @p.asset
    async def after(gate: int = Dep("gate", type=int)) -> str:
        return f"{gate} pages"

    return p


async def begun(app: FlowStone) -> RunHandle[Any]:
    """Enqueue the run, and work until it waits."""
    handle = await app.enqueue("p.after")
    await drain(app)
    return handle


async def the_gate(app: FlowStone) -> Gate:
    """Return the newest gate that there is."""
    (run,) = await app.store.runs(limit=1)
    (step,) = [
        it for it in await app.store.materializations(run.run_id) if it.key.asset == "p.gate"
    ]
    found = await app.coordinator(GateCoordinator).of_materialization(step.id)
    return found[0]
