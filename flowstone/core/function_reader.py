"""
An item reader made of functions.

::

    async def pages(config, deps):
        return {"next": config.get("start", 1)}

    async def page(state, limit):
        found = await api.list(page=state["next"], size=limit)
        return Read(found.items, {"next": state["next"] + 1}, is_last=not found.has_more)

    app = FlowStone(sales, readers={"tickets": function_reader(init=pages, read=page)})
"""

import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias, TypeVar

from flowstone.core.contracts.item_reader import ItemReader, Read
from flowstone.core.errors import InvalidOptionError
from flowstone.core.json_value import JsonValue

S = TypeVar("S")
T = TypeVar("T")

Either: TypeAlias = T | Awaitable[T]


def function_reader(
    *,
    init: Callable[[Mapping[str, object], Mapping[str, object]], Either[S]],
    read: Callable[[S, int], Either[Read[S]]],
    count: Callable[[S], Either[int | None]] | None = None,
    checkpoint: Callable[[S], JsonValue] | None = None,
    restore: Callable[[S, JsonValue], Either[S]] | None = None,
    close: Callable[[S], Either[None]] | None = None,
) -> ItemReader[S]:
    """
    Return a reader whose methods are these functions; see `ItemReader` for each.

    They may be asynchronous, except ``checkpoint``; plain ones run on the event loop. Without
    ``checkpoint`` reading begins anew after a crash.

    Raises:
        InvalidOptionError: ``init`` or ``read`` is missing, or one of them is no function.
    """
    functions = {
        "init": init,
        "read": read,
        "count": count,
        "checkpoint": checkpoint,
        "restore": restore,
        "close": close,
    }
    wrong = [
        f"{name} is missing" if function is None else f"{name}={function!r} is no function"
        for name, function in functions.items()
        if not callable(function) and (function is not None or name in ("init", "read"))
    ]
    if (checkpoint is None) is not (restore is None):
        wrong.append("checkpoint and restore go together")
    if wrong:
        raise InvalidOptionError(f"function_reader: {'; '.join(wrong)}")
    return _FunctionReader(init, read, count, checkpoint, restore, close)


class _FunctionReader(ItemReader[S]):
    contract_version = "1.0.0"

    def __init__(
        self,
        init: Callable[[Mapping[str, object], Mapping[str, object]], Either[S]],
        read: Callable[[S, int], Either[Read[S]]],
        count: Callable[[S], Either[int | None]] | None,
        checkpoint: Callable[[S], JsonValue] | None,
        restore: Callable[[S, JsonValue], Either[S]] | None,
        close: Callable[[S], Either[None]] | None,
    ) -> None:
        self._init = init
        self._read = read
        self._count = count
        self._checkpoint = checkpoint
        self._restore = restore
        self._close = close

    async def init(self, config: Mapping[str, object], deps: Mapping[str, object]) -> S:
        return await _either(self._init(config, deps))

    async def read(self, state: S, limit: int) -> Read[S]:
        return await _either(self._read(state, limit))

    async def count(self, state: S) -> int | None:
        return None if self._count is None else await _either(self._count(state))

    def checkpoint(self, state: S) -> JsonValue:
        return None if self._checkpoint is None else self._checkpoint(state)

    async def restore(self, state: S, checkpoint: JsonValue) -> S:
        return state if self._restore is None else await _either(self._restore(state, checkpoint))

    async def close(self, state: S) -> None:
        if self._close is not None:
            await _either(self._close(state))


async def _either(given: Either[T]) -> T:
    # A state that is awaitable itself is nothing that anybody would keep.
    return await given if inspect.isawaitable(given) else given
