"""A gate's value is what ``on_signal`` makes; its function returns a `Wait`."""

from typing import assert_type

from flowstone import Dep, Pipeline, Skip
from flowstone.core.context import Context
from flowstone.plugins.signal_gate import Callback, Wait, signal_gate

p = Pipeline("p")


async def on_done(payload: str) -> list[int]:
    return [len(payload)]


def on_done_plain(payload: str) -> list[int] | Skip:
    return [len(payload)] if payload else Skip()


async def on_late(ctx: Context[object]) -> list[int]:
    return []


async def once_more(payload: str) -> list[int] | Wait:
    return Wait("another")


@p.asset
async def base() -> int:
    return 1


@p.asset
@signal_gate(on_signal=on_done, on_timeout=on_late, timeout="1h")
async def gate(callback: Callback, base: int = Dep(base)) -> Wait:
    return Wait(token=callback.token, metadata={"base": base})


@p.asset(queue="etl")
@signal_gate(on_signal=on_done_plain, on_timeout="retry", timeout_retries=2)
def plain_gate() -> Wait | Skip:
    return Wait("task")


@p.asset
@signal_gate(on_signal=once_more, timeout=None)
async def two_signals() -> Wait:
    return Wait("first")


assert_type(Dep(gate), list[int])
assert_type(Dep(plain_gate), list[int])
assert_type(Dep(two_signals), list[int])


async def calls() -> None:
    assert_type(await gate(Callback("t", "https://example.org/t"), 2), Wait)
    assert_type(plain_gate(), Wait | Skip)
    await gate(Callback("t", "https://example.org/t"), "2")  # E:


@p.asset
async def consumer(pages: list[int] = Dep(gate)) -> None: ...


@p.asset
async def wrong_consumer(pages: str = Dep(gate)) -> None: ...  # E:


@p.asset  # E[mypy]:
@signal_gate(on_signal=on_done)  # E[pyright]:
async def no_wait() -> int:
    return 1


signal_gate(on_signal=on_done, on_timeout="wait")  # E:
signal_gate(on_signal=on_done, timeout=[1])  # E:
Wait()  # E:
Wait(7)  # E:
