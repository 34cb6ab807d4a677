"""
What a run does, told on stderr while it is done: lines, and on a terminal a bar beneath them.

Everything comes from the run's rows, so it looks the same whoever does the work.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Protocol, TypeAlias

import click

from flowstone.cli.output import cell, is_terminal, seconds_text
from flowstone.cli.run_documents import WORDS, error_text
from flowstone.cli.settings import Settings
from flowstone.core.contracts.store import Key, MaterializationRecord, Store
from flowstone.core.errors import DatabaseError, RunNotFoundError
from flowstone.core.following import Following
from flowstone.core.status import Status

NO_WORKER_SECONDS = 5.0
REMARK_SECONDS = 1.0
"""How often plugins are asked how what waits stands: how far a scatter is."""

REMARK_LINES_SECONDS = 5.0
"""How often a line is told of it, where nothing is drawn."""

WIDEST_NAME = 48

Remarks: TypeAlias = Callable[[int], Awaitable[Mapping[int, str]]]
"""Of a run, what there is to say of its materializations, by id: `FlowStone.remarks`."""


@asynccontextmanager
async def following(
    settings: Settings,
    store: Store,
    run_id: int,
    *,
    by_workers: bool = False,
    remarks: Remarks | None = None,
) -> AsyncIterator[None]:
    """
    Tell what the run does for as long as the block runs.

    Args:
        by_workers: Others do the work; say so if nobody seems to.
        remarks: Asks plugins what there is to say of what waits.
    """
    if settings.quiet:
        yield
        return
    display: Display = Bar(settings) if is_terminal(settings) else Lines()
    follower = Follower(store, run_id, display, by_workers=by_workers, remarks=remarks)
    following_ = asyncio.create_task(follower.follow())
    try:
        yield
    finally:
        following_.cancel()
        await asyncio.gather(following_, return_exceptions=True)
        with suppress(DatabaseError, RunNotFoundError):
            await follower.look()
        display.close()


class Display(Protocol):
    """Where progress is shown."""

    def tell(self, line: str) -> None:
        """Add a line."""

    def advance(self, done: int, total: int, running: Sequence[str]) -> None:
        """Say how far it is."""

    def remark(self, line: str) -> None:
        """Say how something that waits stands; may be said again and again."""

    def close(self) -> None:
        """Remove what is not a line."""


class Lines:
    """Lines only: for logs, pipes and CI."""

    def __init__(self) -> None:
        self._remarked_at = 0.0

    def tell(self, line: str) -> None:
        click.echo(line, err=True)

    def advance(self, done: int, total: int, running: Sequence[str]) -> None:
        pass  # the lines have said it

    def remark(self, line: str) -> None:
        now = time.monotonic()
        if now >= self._remarked_at + REMARK_LINES_SECONDS:
            self._remarked_at = now
            click.echo(line, err=True)

    def close(self) -> None:
        pass  # nothing is drawn


class Bar:
    """Lines that move up above a bar."""

    def __init__(self, settings: Settings) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
        from rich.progress import TimeElapsedColumn as Elapsed

        console = Console(stderr=True, no_color=settings.is_colored() is False, highlight=False)
        self._progress = Progress(
            BarColumn(),
            MofNCompleteColumn(),
            Elapsed(),
            TextColumn("{task.description}", markup=False),
            console=console,
            transient=True,
        )
        self._task = self._progress.add_task("", total=None)
        self._progress.start()

    def tell(self, line: str) -> None:
        self._progress.console.print(line, markup=False, soft_wrap=True)

    def advance(self, done: int, total: int, running: Sequence[str]) -> None:
        more = f" and {len(running) - 3} more" if len(running) > 3 else ""
        description = ", ".join(running[:3]) + more
        self._progress.update(self._task, completed=done, total=total, description=description)

    def remark(self, line: str) -> None:
        pass  # it is beside the bar

    def close(self) -> None:
        self._progress.stop()


class Follower:
    """Reads a run's rows again and again, and tells a display what is new in them."""

    def __init__(
        self,
        store: Store,
        run_id: int,
        display: Display,
        *,
        by_workers: bool = False,
        remarks: Remarks | None = None,
    ) -> None:
        self._store = store
        self._run_id = run_id
        self._following = Following(store, run_id)
        self._display = display
        self._by_workers = by_workers
        self._remarks = remarks
        self._remarked_at = 0.0
        self._said: Mapping[int, str] = {}
        self._begun = time.monotonic()
        self._total = 0
        self._name_width = 0
        self._partition_width = 0
        self._told: set[int] = set()
        self._told_waits: set[int] = set()
        self._told_attempts: dict[int, int] = {}

    async def follow(self) -> None:
        """Tell what happens until the run has ended; a database that is away is waited for."""
        async with aclosing(self._following.looks()) as looks:
            async for _ in looks:
                with suppress(DatabaseError):
                    await self._tell()

    async def look(self) -> None:
        """Tell what is new since the last time."""
        await self._following.look()
        await self._tell()

    async def _tell(self) -> None:
        records = list(self._following.seen.values())
        if self._total == 0:
            await self._tell_reused([it.key for it in records])
        for it in records:
            if it.status is Status.WAITING and it.id not in self._told_waits:
                self._told_waits.add(it.id)
                whom = f" ({', '.join(it.whom)})" if it.whom else ""
                self._display.tell(self._line("", it.key, f"waits for {it.waiting_on}{whom}", ""))
            self._tell_attempt(it)
        ended = [it for it in records if it.status.is_terminal and it.id not in self._told]
        for it in sorted(ended, key=_ended):
            self._told.add(it.id)
            self._tell_end(it)
        running = [it.key.asset for it in records if it.status is Status.RUNNING]
        running += await self._tell_remarks([it for it in records if it.status is Status.WAITING])
        self._display.advance(self._done, self._total, running)
        idle = all(it.status in (Status.PENDING, Status.READY) for it in records)
        late = time.monotonic() - self._begun > NO_WORKER_SECONDS
        if self._by_workers and records and idle and late:
            self._by_workers = False
            self._display.tell("nothing has started yet; is a worker running? flowstone worker")

    async def _tell_remarks(self, waiting: Sequence[MaterializationRecord]) -> list[str]:
        """Return what plugins say of what waits, each with its asset."""
        if self._remarks is None or not waiting:
            return []
        if time.monotonic() >= self._remarked_at + REMARK_SECONDS:
            self._remarked_at = time.monotonic()
            self._said = await self._remarks(self._run_id)
        said = {it.key: self._said[it.id] for it in waiting if it.id in self._said}
        for key, remark in said.items():
            self._display.remark(self._line("", key, remark, ""))
        return [f"{key.asset} {remark}" for key, remark in said.items()]

    async def _tell_reused(self, keys: Sequence[Key]) -> None:
        reused = await self._store.reused(self._run_id)
        every = [*keys, *(it.key for it in reused)]
        self._total = len(every)
        self._name_width = min(WIDEST_NAME, max((len(key.asset) for key in every), default=0))
        self._partition_width = max((len(key.partition) for key in every), default=0)
        for it in reused:
            self._told.add(it.materialization_id)
            self._display.tell(self._line(self._place(), it.key, "reused", ""))

    def _tell_attempt(self, it: MaterializationRecord) -> None:
        if it.error is None or it.status not in (Status.READY, Status.RUNNING):
            return
        failed = it.attempt if it.status is Status.READY else it.attempt - 1
        if failed > self._told_attempts.get(it.id, 0):
            self._told_attempts[it.id] = failed
            self._display.tell(self._line("", it.key, f"attempt {failed} failed", ""))
            self._tell_error(it)

    def _tell_end(self, it: MaterializationRecord) -> None:
        seconds = None if it.duration_ms is None else it.duration_ms / 1000
        attempt = f"attempt {it.attempt}" if it.attempt > 1 else ""
        told = f"{seconds_text(seconds)}  {attempt}".rstrip()
        self._display.tell(self._line(self._place(), it.key, WORDS[it.status], told))
        if it.status not in (Status.SUCCEEDED, Status.UPSTREAM_FAILED):
            self._tell_error(it)

    def _tell_error(self, it: MaterializationRecord) -> None:
        if text := cell(error_text(it.error)):
            self._display.tell(f"{' ' * (2 * len(str(self._total)) + 4)}{text}")

    @property
    def _done(self) -> int:
        return len(self._told)

    def _place(self) -> str:
        width = len(str(self._total))
        return f"{self._done:>{width}}/{self._total}"

    def _line(self, place: str, key: Key, word: str, rest: str) -> str:
        width = 2 * len(str(self._total)) + 1
        name = f"{cell(key.asset):<{self._name_width}}"
        partition = f"  {cell(key.partition):<{self._partition_width}}" * bool(
            self._partition_width
        )
        return f" {place:<{width}}  {name}{partition}  {word:<9}  {rest}".rstrip()


def _ended(it: MaterializationRecord) -> tuple[float, int]:
    return (it.finished_at.timestamp() if it.finished_at else 0.0, it.id)
