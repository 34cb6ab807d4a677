"""The child processes of an application: started when one is needed, kept, and used again."""

import asyncio
import pickle
import sys
from collections.abc import Mapping

from flowstone.core.contracts.codec import Codec
from flowstone.core.errors import (
    DefinitionError,
    MaterializationError,
    ProcessDiedError,
    reason_text,
)
from flowstone.core.processes import carried_error, child_logging
from flowstone.core.processes.child import Child
from flowstone.core.processes.messages import Message
from flowstone.core.processes.place import MAIN, Place, main_module

START_SECONDS = 60.0
"""How long a child may take to start, and to import an asset's module."""


class Children:
    """
    Lends children to the workers of an application.

    Args:
        codec: What the children decode and encode with; it is pickled.

    Raises:
        DefinitionError: The codec cannot be sent.
    """

    def __init__(self, codec: Codec) -> None:
        self._codec_is_in_script = type(codec).__module__ == MAIN
        try:
            self._codec = pickle.dumps(codec)
        except Exception as error:  # its state may refuse in any way
            raise DefinitionError(
                f"codec {type(codec).__qualname__} cannot be sent to child processes, which assets "
                f'with executor="process" need ({reason_text(error)}). Put its class at the top of '
                "a module, and where its state does not pickle, say how it is made again\n\n"
                f"    def __reduce__(self):\n        return {type(codec).__name__}, (...)"
            ) from error
        self._idle: list[Child] = []
        self._lent: set[Child] = set()
        self._ending: set[asyncio.Task[None]] = set()

    async def lend(self, place: Place, version: str) -> Child:
        """
        Return a child that has found the asset; whoever gets it calls `take_back`.

        Args:
            version: The asset's code version here.

        Raises:
            DefinitionError: A child cannot find it; the message says why.
            MaterializationError: What it found is another version.
            ProcessDiedError: It died of the attempt, or took too long.
        """
        while True:
            known = self._pick()
            child = known or await Child.start()
            self._lent.add(child)
            try:
                async with asyncio.timeout(START_SECONDS):
                    if known is None:
                        await self._set_up(child)
                    await _find(child, place, version)
            except ProcessDiedError:
                self.take_back(child)
                if known is None:
                    raise
                # It had died before it was asked, which is nobody's fault: another one is taken.
            except TimeoutError:
                self.take_back(child)
                raise ProcessDiedError(
                    f"took longer than {START_SECONDS:g}s to start and to import '{place.module}'"
                ) from None
            except BaseException:
                self.take_back(child)
                raise
            else:
                return child

    def take_back(self, child: Child) -> None:
        """Keep a child for the next one who needs it, if it is well."""
        self._lent.discard(child)
        if child.is_well:
            self._idle.append(child)
            return
        child.kill()
        ending = asyncio.create_task(child.end())
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)

    async def close(self) -> None:
        """End all of them, what they are at included; safe to call twice."""
        children = [*self._idle, *self._lent]
        self._idle.clear()
        self._lent.clear()
        for child in children:
            if not child.is_ours:
                child.kill()
        ends = [child.end() for child in children if child.is_ours]
        await asyncio.gather(*ends, *self._ending)

    def _pick(self) -> Child | None:
        while self._idle:
            child = self._idle.pop()
            if child.is_well and child.is_ours:
                return child
            child.kill()
        return None

    async def _set_up(self, child: Child) -> None:
        head = {
            "is": "set_up",
            "argv": sys.argv,
            "script": main_module(),
            "levels": child_logging.levels(),
            "codec_is_in_script": self._codec_is_in_script,
        }
        answer = await child.ask(Message(head, [self._codec]))
        _refuse(answer.head, child, "a child process cannot be set up")


async def _find(child: Child, place: Place, version: str) -> None:
    answer = await child.ask(Message({"is": "find", "place": place.dump()}))
    _refuse(answer.head, child, f"a child process cannot import '{place.module}'")
    if answer.head["version"] != version:
        raise MaterializationError(
            f"the code of {place.asset} has changed since this worker was started, and a child "
            "process has imported the new one; restart the worker",
            asset=place.asset,
            retryable=True,
        )


def _refuse(head: Mapping[str, object], child: Child, what: str) -> None:
    if head["is"] == "raised":
        child.kill()  # what it has imported in part will not be imported again
        error = carried_error.load(head, child.pid)
        raise DefinitionError(f"{what}: {reason_text(error)}") from error
