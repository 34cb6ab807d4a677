"""What one worker has under way: a task for each claim, begun, stopped and waited for."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable

from flowstone.core.contracts.store import Claim


class Underway:
    """
    The claims that a worker is at, by materialization.

    Two attempts at one materialization are never under way at once: one that was taken over from
    this worker and came back to it is given the task before it, which may take its time to end.

    Args:
        tell: Says to a claim's attempt that it is to stop, for functions in threads, which have to
            ask.
    """

    def __init__(self, tell: Callable[[Claim], None]) -> None:
        self._tell = tell
        self._tasks: dict[int, tuple[Claim, asyncio.Task[None]]] = {}
        self._asked: set[int] = set()
        self.wishes = 0
        """How often somebody asked for something to stop, be it under way already or not."""

    def __len__(self) -> int:
        return len(self._tasks)

    @property
    def claims(self) -> list[Claim]:
        """All of them."""
        return [claim for claim, _ in self._tasks.values()]

    @property
    def tasks(self) -> list[tuple[Claim, asyncio.Task[None]]]:
        """All of them, with the tasks that are at them; may be asked from another thread."""
        return list(self._tasks.values())

    def begin(
        self,
        claim: Claim,
        execute: Callable[[Claim, asyncio.Task[None] | None], Coroutine[None, None, None]],
    ) -> None:
        """Start the claim's task; ``execute`` gets what it has to outlive first."""
        self.let_go([claim.id])
        _, earlier = self._tasks.get(claim.id, (None, None))
        self._tasks[claim.id] = claim, asyncio.create_task(execute(claim, earlier))

    def end(self, claim: Claim) -> None:
        """Forget a claim whose task has done its work."""
        known, _ = self._tasks.get(claim.id, (None, None))
        if known is claim:
            del self._tasks[claim.id]
            self._asked.discard(claim.id)

    def stop(self, ids: Iterable[int]) -> None:
        """Stop what somebody asked to stop; asking again changes nothing."""
        for id_ in ids:
            if id_ in self._tasks and id_ not in self._asked:
                self._asked.add(id_)
                self._cancel(*self._tasks[id_])

    def is_asked_to_stop(self, claim: Claim) -> bool:
        """Return whether `stop` named it."""
        return claim.id in self._asked

    def let_go(self, ids: Iterable[int]) -> None:
        """Stop what has gone to others; nothing of it counts any longer."""
        for id_ in ids:
            if id_ in self._tasks and not self._tasks[id_][1].cancelling():
                self._cancel(*self._tasks[id_])

    def stop_all(self) -> None:
        """Stop everything, as nobody will wait for it any longer."""
        for claim, task in self._tasks.values():
            self._cancel(claim, task)

    async def wait(self, seconds: float | None = None) -> None:
        """Return when what is under way now has ended, or so many seconds later."""
        tasks = [task for _, task in self._tasks.values()]
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)

    def _cancel(self, claim: Claim, task: asyncio.Task[None]) -> None:
        self._tell(claim)
        # Cancelled before its first step a task would end without having run at all.
        asyncio.get_running_loop().call_soon(task.cancel)
