"""Those who ask for work while everything around them breaks, and remember what they were told."""

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeVar

from flowstone import FlowStone
from flowstone.core.errors import DatabaseError
from tests.chaos.journal import Journal
from tests.chaos.server import Server

T = TypeVar("T")

MOST_OPEN = 1500
ALWAYS = {"wakes", "signals", "decisions", "ticks"}
"""Loads that go on whatever is open: some let it end, by the last one the rate is measured."""


@dataclass(slots=True)
class Asked:
    """
    What clients asked for and were told.

    Attributes:
        runs: Runs whose creation was acknowledged, with the load that wanted them.
        folded: Answers to requests with the same ``dedupe``, by that text.
        cancelled: Runs whose cancellation was acknowledged.
        committed: Texts whose transaction was committed, rolled back, or neither is known.
        wakes: What was sent to whom.
        jobs: Jobs that were acknowledged: their argument, the load, and the least delay in seconds.
        job_transactions: As ``transactions``, of jobs.
        cancelled_jobs: Jobs that somebody tried to cancel, and whether that was acknowledged.
        same_jobs: Answers to requests for a job with the same ``dedupe``, by its argument.
        signals: By payload: the token that it was sent for, and the answer.
        decisions: By who has decided: about which approval, as what status it is to have, and
            whether that counts.
        heard: What those were told who waited for a job: how it ended, or its result's token.
    """

    runs: dict[int, str] = field(default_factory=dict)
    folded: dict[str, set[int]] = field(default_factory=dict)
    cancelled: set[int] = field(default_factory=set)
    transactions: dict[str, str] = field(default_factory=dict)
    wakes: list[tuple[int, str]] = field(default_factory=list)
    jobs: dict[int, tuple[str, str, float]] = field(default_factory=dict)
    job_transactions: dict[str, str] = field(default_factory=dict)
    cancelled_jobs: dict[int, bool] = field(default_factory=dict)
    same_jobs: dict[str, set[int]] = field(default_factory=dict)
    signals: dict[str, tuple[str, str]] = field(default_factory=dict)
    decisions: dict[str, tuple[int, str, str]] = field(default_factory=dict)
    heard: dict[int, str] = field(default_factory=dict)
    refused: int = 0


class Client:
    """
    What a load drives.

    Args:
        apps: The application as several clients have it, each with a way of its own to the server.

    Attributes:
        open_count: How many materializations are open, as somebody has counted lately.
    """

    def __init__(
        self,
        apps: list[FlowStone],
        server: Server,
        journal: Journal,
        asked: Asked,
        chance: random.Random,
    ) -> None:
        self._apps = apps
        self._journal = journal
        self._over = asyncio.Event()
        self._numbers = itertools.count(1)
        self.server = server
        self.open_count = 0
        self.asked = asked
        self.chance = chance

    @property
    def app(self) -> FlowStone:
        return self.chance.choice(self._apps)

    @property
    def is_over(self) -> bool:
        return self._over.is_set()

    def stop(self) -> None:
        self._over.set()

    def text(self, prefix: str) -> str:
        """Return a text that nobody has used."""
        return f"{prefix}-{next(self._numbers)}"

    async def pause(self, mean_seconds: float) -> None:
        """Wait for a while of random length, or until it is over."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self.chance.expovariate(1 / mean_seconds)):
                await self._over.wait()

    async def attempt(self, what: Callable[[], Awaitable[T]]) -> T | None:
        """Return what it returns; None when the database did not answer, as may be."""
        try:
            return await what()
        except DatabaseError as error:
            self.asked.refused += 1
            self._journal.note("client", f"{type(error).__name__}: {error}")
            return None

    async def insist(self, what: Callable[[], Awaitable[T]]) -> T:
        """Return what it returns, however often that takes."""
        while True:
            try:
                return await what()
            except DatabaseError as error:
                self.asked.refused += 1
                self._journal.note("client", f"{type(error).__name__}: {error}")
                await asyncio.sleep(self.chance.uniform(0.1, 0.5))

    async def guarded(self, drive: Callable[["Client"], Awaitable[None]], name: str) -> None:
        """Drive a load; anything that it does not expect is a complaint."""
        while not self.is_over:
            if self.open_count > MOST_OPEN and name not in ALWAYS:
                await self.pause(0.5)  # a busy machine: what came last would never have its turn
                continue
            try:
                await drive(self)
            except Exception as error:
                self._journal.complain(
                    "a client was told what it cannot understand",
                    f"{name}: {type(error).__name__}: {error}",
                )
                await asyncio.sleep(1)
