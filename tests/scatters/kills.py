"""
Kills the workers of one scatter, each at a step of its work, and says what did not hold then.

What a worker is at is held in the database until it was killed there: a page that it inserts waits
for the row of the feed, a turn for the row of the barrier. What was under way then commits after
its worker is dead, or is taken back with its connection. Nobody reads on before the kill that is
next: there is something to kill, however fast the workers are.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import asyncpg

from flowstone.engine.dsn import for_asyncpg
from tests.scatters.audit import Look, lines, look
from tests.scenarios.deaths import LONG, give_up
from tests.scenarios.eventually import eventually
from tests.scenarios.ledger import Ledger
from tests.scenarios.pipelines.scattered import HALTS, PAGE
from tests.scenarios.spawned import Spawned, Spawner

INSERTING, CHUNK, SETTLING, GATHERING = "inserting", "a chunk", "settling", "gathering"

HELD = {
    INSERTING: ("scatter_feeds", "%scatter_insert_v1%"),
    SETTLING: ("scatter_barriers", "%scatter_turn_v1%"),
}
WAITING = """
SELECT pid, application_name FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE $1
ORDER BY query_start
"""
LEFT = """
SELECT NOT EXISTS (
    SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name = $1
)
"""
STANDS = "SELECT total, completed FROM flowstone.scatter_barriers"


def plan(kills: int, chooser: random.Random) -> list[str]:
    """Return at what to kill, in order: every step, and the one that is last at the end."""
    gathering = 1 + (kills >= 8)
    rest = kills - gathering
    inserting = max(1, rest // 4)
    others = [SETTLING if it % 2 == 0 else CHUNK for it in range(rest - inserting)]
    chooser.shuffle(others)
    return [INSERTING] * inserting + others + [GATHERING] * gathering


@dataclass
class Killing:
    """
    One scatter of ``scattered.counted`` that was enqueued, and its workers.

    Attributes:
        workers: How many there are at a time.
        looks: What was settled after each kill.
        told: Is called with what happens.
    """

    dsn: str
    ledger: Ledger
    spawner: Spawner
    items: int
    chooser: random.Random
    workers: int = 2
    looks: list[Look] = field(default_factory=list)
    told: Callable[[str], None] = lambda _: None

    def __post_init__(self) -> None:
        self._alive: dict[str, Spawned] = {}
        self._started = 0

    async def run(self, steps: Sequence[str], pg: asyncpg.Connection) -> None:
        """Kill at each step, and let the last workers finish."""
        halted = len(steps) - steps.count(GATHERING)
        shares = [place / len(steps) for place in range(1, halted + 1)]
        halts = [(int(self.items * share) // PAGE + 1) * PAGE for share in shares]
        (self.ledger.folder / HALTS).write_text(" ".join(map(str, halts)))
        self._fill_up()
        places = iter(zip(shares, halts, strict=True))
        for step in steps:
            if step == GATHERING:
                await self._kill_gathering(pg)
            else:
                share, halt = next(places)
                await self._kill_at(step, int(self.items * share * 0.8), halt, pg)
            self._fill_up()
        self.ledger.open_gate("gather")

    def _fill_up(self) -> None:
        while len(self._alive) < self.workers:
            self._started += 1
            name = f"killed-{self._started}"
            dsn = f"{self.dsn}{'&' if '?' in self.dsn else '?'}application_name={name}"
            self._alive[name] = self.spawner.worker(dsn, "scattered", lease=LONG)

    async def _kill_at(self, step: str, done: int, halt: int, pg: asyncpg.Connection) -> None:
        # Pages are inserted before they are worked on, so this is reached with any share of them.
        counted = "total" if step == INSERTING else "completed"

        async def is_so_far() -> bool:
            row = await pg.fetchrow(STANDS)
            return row is not None and row[counted] >= done

        await eventually(is_so_far, within=240)
        if step == CHUNK:
            await self._kill(self.chooser.choice([*self._alive]), step, pg)
            self.ledger.open_gate(f"read-{halt}")
            return
        table, query = HELD[step]
        holder: asyncpg.Connection = await asyncpg.connect(**for_asyncpg(self.dsn))
        try:
            async with holder.transaction():
                await holder.execute(f"SELECT FROM flowstone.{table} FOR UPDATE")
                self.ledger.open_gate(f"read-{halt}")
                waiting = await eventually(lambda: pg.fetch(WAITING, query))
                row = waiting[0]
                is_lost = self.chooser.random() < 0.5
                self._alive[row["application_name"]].kill()
                if is_lost:
                    await pg.execute("SELECT pg_terminate_backend($1)", row["pid"])
            said = f"{step}, which {'was lost' if is_lost else 'then took place'}"
            await self._kill(row["application_name"], said, pg)
        finally:
            await holder.close()

    async def _kill_gathering(self, pg: asyncpg.Connection) -> None:
        pids = {str(it.pid): name for name, it in self._alive.items()}
        name = await eventually(
            lambda: next((pids[it] for it in lines(self.ledger, "gathering") if it in pids), None),
            within=240,
        )
        await self._kill(name, GATHERING, pg)

    async def _kill(self, name: str, step: str, pg: asyncpg.Connection) -> None:
        dead = self._alive.pop(name)
        dead.kill()
        # What it had sent is done by then, or is not.
        await eventually(lambda: pg.fetchval(LEFT, name))
        await give_up(pg, dead, max_rescues=1000)
        self.looks.append(await look(pg, self.ledger))
        row = await pg.fetchrow(STANDS)
        self.told(f"killed {name} in the middle of {step}: {row['completed']} of {row['total']}")
