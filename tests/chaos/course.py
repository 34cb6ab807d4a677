"""
One stretch of chaos, from an empty database to the verdict.

::

    calm ──▶ storm of faults ──▶ recovery ──▶ drain ──▶ stop ──▶ verdict
    └───────── clients ask for work ────────┘
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict
from pathlib import Path

from tests.chaos import clock, evidence, verdict
from tests.chaos.app import SEED, application, fates
from tests.chaos.audit import FOLDER, Audit
from tests.chaos.catalogue import FAULTS, INVARIANTS, LOADS
from tests.chaos.client import Asked, Client
from tests.chaos.crew import Crew
from tests.chaos.jobs import SCHEDULE
from tests.chaos.journal import Journal
from tests.chaos.loads.decisions import decide_some
from tests.chaos.loads.signals import signal_some
from tests.chaos.loads.transactions import LOST
from tests.chaos.loads.wakes import waiters, wake
from tests.chaos.processes import with_environment
from tests.chaos.proxy import BadNetwork
from tests.chaos.server import Server
from tests.chaos.storm import Storm
from tests.chaos.world import World
from tests.scenarios.pooler import BINARY, pooler

WORKERS = 4
CALM_SECONDS = 8.0
RECOVERY_SECONDS = verdict.LONGEST_RECOVERY_SECONDS + verdict.WINDOW_SECONDS + 1.0
STUCK_SECONDS = 120.0
ALONE_SECONDS = 60.0
CLIENTS_SECONDS = 120.0
TAKEN_OVER_SECONDS = 60.0
FIRST_TICKS = 60
TICKED = """
SELECT count(*) FROM flowstone.flowstone_materializations
WHERE asset = 'probe.tick' AND status = 'succeeded'
"""
OPEN = "SELECT count(*) FROM flowstone.flowstone_materializations WHERE finished_at IS NULL"
WORKING = """
SELECT (SELECT count(*) FROM flowstone.flowstone_workers) <= $1
    AND (SELECT count(*) FROM flowstone.procrastinate_workers) <= $1
"""


class Course:
    """
    Runs once.

    Args:
        seconds: From the first calm moment to the last fault's beginning.
        folder: Gets the logs, the journal and what bodies write down.
    """

    def __init__(self, seconds: float, seed: int, folder: Path, *, is_loud: bool) -> None:
        self._seconds = seconds
        self._seed = seed
        self._folder = folder
        self._audit = Audit(folder)
        self._journal = Journal(folder / "journal.jsonl", is_loud)
        self._asked = Asked()
        self._phases: dict[str, float] = {}

    async def run(self) -> dict[str, object]:
        """Return the report, as JSON can say it."""
        self._audit.begin_measuring()
        tables = application(self._seed, self._audit, None).tables
        with Server(self._folder, tables).running() as server:
            async with server.connected() as pg:
                await pg.execute(evidence.TABLES)
            async with self._world(server) as world:
                await self._play(world)
            return await self._judge(server)

    @asynccontextmanager
    async def _world(self, server: Server) -> AsyncIterator[World]:
        environment = {FOLDER: str(self._folder), SEED: str(self._seed)}
        async with BadNetwork(lambda: server.dsn).listening() as network, AsyncExitStack() as stack:
            # Half of them reach the server by way of the bad network, one of these by a pooler.
            dsns = [(server.dsn, network.dsn)[place % 2] for place in range(WORKERS)]
            if BINARY is not None:
                dsns[-1] = stack.enter_context(pooler(network.dsn, servers=8))
            crew = Crew(dsns, environment, self._folder, self._journal)
            async with crew.at_work():
                library = clock.library(self._folder)
                yield World(server, network, crew, self._journal, library)

    async def _play(self, world: World) -> None:
        async with self._clients(world) as client:
            await self._until(lambda: self._asked_server(world, TICKED), FIRST_TICKS)
            self._begin("calm")
            await asyncio.sleep(CALM_SECONDS)
            self._begin("storm")
            self._audit.end_measuring()
            storm = Storm(world, FAULTS, self._seed)
            self._phases["last fault"] = await storm.rage(self._seconds - CALM_SECONDS)
            self._audit.begin_measuring()
            self._begin("recovery")
            await asyncio.sleep(RECOVERY_SECONDS)
            self._begin("drain")
            client.stop()
            await client.insist(lambda: client.app.schedules.pause(SCHEDULE))
            await self._drain(world, client)
        await self._until_taken_over(world)
        self._begin("stop")
        await world.crew.stop_all()
        await self._until_alone()
        self._begin("end")

    @asynccontextmanager
    async def _clients(self, world: World) -> AsyncIterator[Client]:
        dsns = (world.server.dsn, world.network.dsn)
        async with AsyncExitStack() as stack:
            apps = [
                await stack.enter_async_context(application(self._seed, self._audit, dsn))
                for dsn in dsns
            ]
            chance = random.Random(f"clients {self._seed}")
            client = Client(apps, world.server, self._journal, self._asked, chance)
            driving = [
                asyncio.create_task(client.guarded(drive, name), name=name)
                for name, drive in LOADS.items()
            ]
            driving.append(asyncio.create_task(self._count(world, client), name="count"))
            try:
                yield client
            finally:
                client.stop()
                _, late = await asyncio.wait(driving, timeout=CLIENTS_SECONDS)
                for task in late:
                    self._journal.complain("a client never came back", task.get_name())
                    task.cancel()

    async def _count(self, world: World, client: Client) -> None:
        while not client.is_over:
            client.open_count = await self._asked_server(world, OPEN)
            await client.pause(0.5)

    async def _drain(self, world: World, client: Client) -> None:
        """
        Wake whoever waits until nothing is open, or nothing has moved for a while.

        What stays open is the invariants' to tell.
        """
        until, least = time.monotonic() + STUCK_SECONDS, None
        while time.monotonic() < until:
            for id_ in await waiters(client, 1.0):
                await wake(client, id_)
            await signal_some(client, 1.0)
            await decide_some(client, 1.0)
            left = await self._asked_server(world, OPEN)
            if left == 0:
                return
            if left > 0 and (least is None or left < least):
                until, least = time.monotonic() + STUCK_SECONDS, left
            await asyncio.sleep(0.5)

    async def _until_taken_over(self, world: World) -> None:
        """Wait for those who live to take over from those who died."""
        until = time.monotonic() + TAKEN_OVER_SECONDS
        while time.monotonic() < until:
            if await self._asked_server(world, WORKING, len(world.crew.members)):
                return
            await asyncio.sleep(0.2)

    async def _until_alone(self) -> None:
        """Wait for what workers have started to end with them."""
        until = time.monotonic() + ALONE_SECONDS
        while left := list(with_environment(FOLDER, str(self._folder))):
            if time.monotonic() > until:
                self._journal.complain("a process outlives its worker", str(left))
                return
            await asyncio.sleep(0.2)

    async def _asked_server(self, world: World, sql: str, *arguments: object) -> int:
        try:
            async with world.server.connected() as pg:
                found: int = await pg.fetchval(sql, *arguments)
                return found
        except LOST:
            return -1

    async def _until(self, ask, count: int) -> None:  # type: ignore[no-untyped-def]
        until = time.monotonic() + STUCK_SECONDS
        while await ask() < count:
            if time.monotonic() > until:
                raise TimeoutError(f"nothing moves, even before the first fault: {self._folder}")
            await asyncio.sleep(0.1)

    def _begin(self, phase: str) -> None:
        self._phases[phase] = time.time()
        self._journal.note(phase)

    async def _judge(self, server: Server) -> dict[str, object]:
        told = self._phases
        ends = fates(application(self._seed, self._audit, None))
        async with server.connected() as pg:
            story = await evidence.bring(pg, self._folder, self._asked, ends)
            found = await verdict.violations(pg, INVARIANTS, self._journal)
            rate = await verdict.throughput(
                pg,
                (told["calm"], told["storm"]),
                told["last fault"],
                told["drain"],
                workers=WORKERS,
            )
            figures = await verdict.figures(pg)
        return {
            "seed": self._seed,
            "seconds": round(told["end"] - told["calm"], 1),
            "faults": dict(Counter(entry.what for entry in self._journal.faults)),
            **figures,
            "refused_settlements": story.events["flowstone.settlement.rejected"],
            "workers_given_up": story.workers_given_up,
            "client_errors": self._asked.refused,
            "throughput": asdict(rate),
            "drained_in": round(told["stop"] - told["drain"], 1),
            "violations": [asdict(it) for it in found],
            "folder": str(self._folder),
        }
