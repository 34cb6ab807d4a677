"""The faults, one after another and sometimes two at once, in an order that the seed decides."""

import asyncio
import random
import time
from collections.abc import Mapping

import asyncpg

from tests.chaos.catalogue import Strike
from tests.chaos.world import World

AT_ONCE = 2
LONGEST_GAP_SECONDS = 4.0
AWAY = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)
"""What a fault meets that needs the server while another has stopped it."""


class Storm:
    """
    Strikes until it is over.

    Args:
        faults: By name: what it does, and how often in each round.
    """

    def __init__(self, world: World, faults: Mapping[str, tuple[Strike, int]], seed: int) -> None:
        self._world = world
        self._faults = faults
        self._seed = seed
        self._chance = random.Random(f"storm {seed}")
        self._round: list[str] = []
        self._number = 0

    async def rage(self, seconds: float) -> float:
        """Strike for so long, and return when the last fault had ended, in Unix seconds."""
        until = time.monotonic() + seconds
        under_way: set[asyncio.Task[None]] = set()
        while time.monotonic() < until:
            under_way.add(asyncio.create_task(self._strike(self._next())))
            await asyncio.sleep(self._chance.uniform(0, LONGEST_GAP_SECONDS))
            while len(under_way) >= AT_ONCE:
                _, under_way = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
        if under_way:
            await asyncio.wait(under_way)
        return time.time()

    def _next(self) -> str:
        """Deal the faults like cards, so that each comes in every round."""
        if not self._round:
            self._round = [name for name, (_, often) in self._faults.items() for _ in range(often)]
            self._chance.shuffle(self._round)
        return self._round.pop()

    async def _strike(self, name: str) -> None:
        self._number += 1
        strike, _ = self._faults[name]
        # Its own chance: what it draws does not depend on how long others took.
        chance = random.Random(f"{self._seed} {self._number} {name}")
        began = time.time()
        try:
            detail = await strike(self._world, chance)
        except AWAY as error:
            detail = f"cut short, the server was away ({type(error).__name__})"
        except Exception as error:
            self._world.journal.complain("a fault broke down", f"{name}: {error!r}")
            return
        self._world.journal.fault(name, began, detail)
