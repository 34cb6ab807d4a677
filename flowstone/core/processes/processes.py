"""The child processes that one worker uses at once: a limit on those of its application."""

import asyncio
import contextlib
from collections.abc import Iterator

from flowstone.core import call_beginning
from flowstone.core.asset import Asset
from flowstone.core.errors import ProcessDiedError
from flowstone.core.processes import carried_error
from flowstone.core.processes.call import Call, Returned, load_returned
from flowstone.core.processes.children import Children
from flowstone.core.processes.place import place_of


class Processes:
    """
    Calls functions in child processes.

    Args:
        limit: How many at once; who comes later waits for his turn.
    """

    def __init__(self, children: Children, limit: int) -> None:
        self._children = children
        self._free = asyncio.Semaphore(limit)

    async def call(
        self, asset: Asset[..., object], call: Call, deadline: asyncio.Timeout | None
    ) -> Returned:
        """
        Call the asset's function in a child, and return what it returned.

        Cancelled, it kills the child at once.

        Args:
            deadline: The attempt's; it stands still until a child is ready for the call.

        Raises:
            ProcessDiedError: The child ended instead.
            BaseException: What the function raised.
        """
        with _standing_still(deadline):
            await self._free.acquire()
        try:
            with _standing_still(deadline):
                child = await self._children.lend(place_of(asset), asset.code_version)
            call_beginning.tell()
            try:
                answer = await child.ask(call.dump())
            finally:
                self._children.take_back(child)
        except ProcessDiedError as error:
            facts = call.facts
            raise ProcessDiedError(
                error.how, asset=facts.asset, partition=facts.partition, run_id=facts.run_id
            ) from None
        finally:
            self._free.release()
        if answer.head["is"] == "raised":
            raise carried_error.load(answer.head, child.pid)
        return load_returned(answer, asset.signature.value_type)


@contextlib.contextmanager
def _standing_still(deadline: asyncio.Timeout | None) -> Iterator[None]:
    """Let a timeout that has not expired go on later with the time that it has left."""
    ends = None if deadline is None or deadline.expired() else deadline.when()
    if deadline is None or ends is None:
        yield
        return
    loop = asyncio.get_running_loop()
    left = ends - loop.time()
    deadline.reschedule(None)
    try:
        yield
    finally:
        deadline.reschedule(loop.time() + left)
