"""`app.run` for scripts and notebooks, where nothing is awaited."""

import asyncio
import contextvars
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar, Unpack, overload

from flowstone.core.application import FlowStone, Target
from flowstone.core.asset import Asset
from flowstone.core.submission import RunArguments

T = TypeVar("T")


@overload
def run_sync(app: FlowStone, target: Asset[..., T], /, **given: Unpack[RunArguments]) -> T: ...


@overload
def run_sync(app: FlowStone, target: str, /, **given: Unpack[RunArguments]) -> object: ...


@overload
def run_sync(
    app: FlowStone, target: list[Target[object]], /, **given: Unpack[RunArguments]
) -> list[object]: ...


def run_sync(
    app: FlowStone,
    target: Target[object] | list[Target[object]],
    /,
    **given: Unpack[RunArguments],
) -> object:
    """
    Open the application, run the target, close it, and return the value; of several, a list.

    What a memory application has stored stays for the next call. Where an event loop runs already,
    as in a notebook, a thread with a loop of its own does the work. Arguments and errors are those
    of `FlowStone.run`.
    """

    async def opened() -> object:
        async with app:
            if isinstance(target, list):
                return await app.run(target, **given)
            return await app.run(target, **given)

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(opened())
    with ThreadPoolExecutor(1, thread_name_prefix="flowstone-run") as thread:
        context = contextvars.copy_context()
        return thread.submit(context.run, asyncio.run, opened()).result()
