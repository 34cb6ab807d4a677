"""Other kinds of assets in the branches of a parallel one, and it as a branch of theirs."""

import asyncio
from typing import Any

import pytest

from flowstone import Dep, Pipeline, RunWaiting
from flowstone.plugins.parallel import Branch, Failed, Ok, Outcome, parallel
from flowstone.plugins.routing import choice, route, routed_from
from flowstone.plugins.scatter import Results, scatter
from flowstone.plugins.signal_gate import Wait, signal, signal_gate
from tests.application.conftest import AppOf
from tests.application.stage import Stage, drain, eventually, statuses, working


async def summed(results: Results[int, int]) -> int:
    return sum([it.value async for it in results])


async def test_a_scatter_a_routed_asset_and_a_gate_in_branches(app_of: AppOf) -> None:
    p = Pipeline("p")

    @p.asset
    async def kind() -> str:
        return "left"

    def is_left(kind: str) -> bool:
        return kind == "left"

    @p.asset
    @route(choice("left", when=is_left), default="right")
    async def router(kind: str = Dep(kind)) -> str:
        return kind

    @p.asset
    @routed_from(router, "left")
    async def left(kind: str = Dep(kind)) -> str:
        return kind

    @p.asset
    @routed_from(router, "right")
    async def right(kind: str = Dep(kind)) -> str:
        return kind

    async def numbers() -> list[int]:
        return [*range(100)]

    @p.asset
    @scatter(numbers, gather=summed)
    async def total(number: int) -> int:
        return number

    async def on_signal(payload: int) -> int:
        return payload

    @p.asset
    @signal_gate(on_signal=on_signal, timeout="1h")
    async def gate() -> Wait:
        return Wait("mixed")

    @p.asset
    async def bad(total: int = Dep(total)) -> int:
        raise ValueError("boom")

    @p.asset
    @parallel(failure_mode="partial")
    async def joined(
        total: int = Branch(total),
        gate: int = Branch(gate),
        left: Outcome[str] = Branch(left, required=False),
        right: Outcome[str] = Branch(right, required=False),
        bad: Outcome[int] = Branch(bad, required=False),
    ) -> list[str]:
        return [str(it) for it in (total, gate, left, right, bad)]

    app = await app_of(p)
    handle = await app.enqueue("joined")
    async with working(app):
        await eventually(lambda: _waits(app, handle))
        with pytest.raises(RunWaiting) as waiting:
            await app.finish(app.handle(handle.run_id))
        assert [it.asset for it in waiting.value.waits] == ["p.gate"]
        await signal(app, "mixed", 7)
        result = await handle.result(60)

    *shown, unselected, failed = result
    assert shown == ["4950", "7", str(Ok("left"))]
    assert unselected.startswith("Skipped(")
    assert failed == str(Failed("ValueError: boom", "execution_error"))
    assert (await handle.status()).status == "succeeded"


async def _waits(app: Any, handle: Any) -> bool:
    found = await statuses(app, handle.run_id)
    return found.get("gate") == "waiting" and found.get("total") == "succeeded"


async def test_an_unselected_parallel_asset_begins_no_branch(app_of: AppOf) -> None:
    p = Pipeline("p")

    def never(kind: str) -> bool:
        return False

    @p.asset
    async def kind() -> str:
        return "x"

    @p.asset
    @route(choice("joined", when=never), default="other")
    async def router(kind: str = Dep(kind)) -> str:
        return kind

    @p.asset
    async def branch() -> int:
        raise AssertionError("a branch began")

    @p.asset
    @routed_from(router, "joined")
    @parallel()
    async def joined(branch: int = Branch(branch)) -> int:
        return branch

    @p.asset
    @routed_from(router, "other")
    async def other() -> int:
        return 1

    app = await app_of(p)
    handle = await app.enqueue_many(["joined", "other"])
    await drain(app)

    ended = await statuses(app, handle.run_id)
    assert {name: ended[name] for name in ("joined", "branch", "other")} == {
        "joined": "skipped",
        "branch": "skipped",
        "other": "succeeded",
    }
    assert (await handle.status()).status == "succeeded"


async def test_a_scatter_in_a_branch_that_is_late_is_stopped(app_of: AppOf, stage: Stage) -> None:
    p = Pipeline("p")
    began = asyncio.Event()

    async def numbers() -> list[int]:
        return [1, 2, 3]

    @p.asset
    @scatter(numbers, gather=summed)
    async def endless(number: int) -> int:
        began.set()
        await asyncio.Event().wait()
        return number

    @p.asset
    @parallel(failure_mode="partial")
    async def joined(
        endless: Outcome[int] = Branch(endless, required=False, timeout="10m"),
    ) -> str:
        return str(endless)

    app = await app_of(p)
    handle = await app.enqueue("joined")
    async with working(app):
        await asyncio.wait_for(began.wait(), 10)
        await stage.advance("11m")
        assert await handle.result(60) == str(Failed("branch 'endless' took too long", "timeout"))
        assert (await handle.wait(60)).status == "succeeded"

    assert await statuses(app, handle.run_id) == {"endless": "cancelled", "joined": "succeeded"}
