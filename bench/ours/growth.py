"""
Turns of a hundred with a million rows in the way, beside turns with a backlog of ten thousand.

Two schemas of one database: one is the reference, the other has the rows as well. Turns alternate
between them, so what slows the machine down for a while slows both down. Plans are cached while
the tables are empty, as in the first second after a deployment, and nothing is analyzed; then it
is, and all is measured once more.

A round claims a hundred (``fetch``), settles them and claims the next hundred in one call
(``turn``), asks for work where there is none (``idle``), and settles the rest. Every
materialization comes in a pair, so half of what is claimed has just been made ready. What was
taken is planned anew before the next round, and every settlement is checked.
"""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from statistics import median
from time import perf_counter

import asyncpg

from bench.ours.growth_rows import Rows
from bench.trial import Measurement, report, require_count, trial_arguments
from flowstone.core.contracts.store import Capacity, Claim, Settlement, Turn, WorkerInfo
from flowstone.core.status import Event
from flowstone.engine.dsn import for_asyncpg
from flowstone.engine.schema import migrate
from flowstone.engine.store import PostgresStore

BACKLOG = 10_000
BATCH = 100
ROUNDS = 100
QUEUE = "default"
EMPTY_QUEUE = "empty"
SCENARIOS = ("waiting", "far_future", "finished", "other_queue")
NEVER_ANALYZED = "never_analyzed"
ANALYZED = "_analyzed"
MEASURED = ("fetch", "turn", "idle")

Times = dict[str, list[float]]


class Side:
    """One schema with a store on it, its rows, and the times that its turns took."""

    def __init__(self, dsn: str, schema: str, connection: asyncpg.Connection) -> None:
        self._store = PostgresStore(dsn, schema=schema)
        self._worker = 0
        self.rows = Rows(connection, schema)

    async def open(self) -> None:
        """Prepare the schema, and have every plan cached while the tables are empty."""
        await self._store.open()
        self._worker = await self._store.register_worker(WorkerInfo("bench", 1, [QUEUE]))
        await self.rows.prepare()
        for _ in range(10):
            await self.rows.plan(1, pairs=True)
            for _ in range(3):
                claims = (await self._turn((), BATCH)).claims
                await self._turn(claims, 0)

    async def close(self) -> None:
        await self._store.close()

    async def play(self, times: Times) -> None:
        """Do one round, and note how long its turns took, in seconds."""
        started = perf_counter()
        first = await self._turn((), BATCH)
        fetched = perf_counter()
        second = await self._turn(first.claims, BATCH)
        turned = perf_counter()
        third = await self._turn((), BATCH, EMPTY_QUEUE)
        idled = perf_counter()
        await self._turn(second.claims, 0)
        require_count(len(first.claims), BATCH, "claimed")
        require_count(len(second.claims), BATCH, "claimed")
        require_count(len(third.claims), 0, "claimed of nothing")
        times["fetch"].append(fetched - started)
        times["turn"].append(turned - fetched)
        times["idle"].append(idled - turned)
        await self.rows.plan(BATCH, pairs=True)

    async def _turn(self, claims: Sequence[Claim], slots: int, queue: str = QUEUE) -> Turn:
        settlements = [
            Settlement(it.id, it.claim, Event.SUCCEEDED, value="1", version="v1", duration_ms=1)
            for it in claims
        ]
        turn = await self._store.turn(self._worker, settlements, Capacity(queues={queue: slots}))
        require_count(len(turn.refused), 0, "refused")
        return turn


async def put_in_the_way(rows: Rows, scenario: str, count: int) -> None:
    match scenario:
        case "waiting":
            await rows.plan(count - BACKLOG, pairs=True)
        case "far_future":
            await rows.plan(count, at=datetime.now(UTC) + timedelta(days=365))
        case "finished":
            await rows.finish(count)
        case "other_queue":
            await rows.plan(count, queue="other")


async def alternate(name: str, loaded: Side, reference: Side) -> list[Measurement]:
    """Play rounds on both, either first in turn; return the medians."""
    sides = [(loaded, ""), (reference, "_reference")]
    times: dict[str, Times] = {role: {what: [] for what in MEASURED} for _, role in sides}
    for _ in range(ROUNDS):
        for side, role in sides:
            await side.play(times[role])
        sides.reverse()
    return [
        Measurement(f"{name}_{what}{role}_ms_p50", median(samples) * 1000, "ms")
        for role, by_what in times.items()
        for what, samples in by_what.items()
    ]


async def run_phase(phase: str, dsn: str, count: int) -> list[Measurement]:
    schemas = ("loaded", "reference")
    for schema in schemas:
        migrate(dsn, schema=schema)
    connections = [await asyncpg.connect(**for_asyncpg(dsn)) for _ in schemas]
    loaded, reference = sides = [
        Side(dsn, schema, connection)
        for schema, connection in zip(schemas, connections, strict=True)
    ]
    for side in sides:
        await side.open()
        await side.rows.plan(count if phase == NEVER_ANALYZED else BACKLOG, pairs=True)
    if phase == NEVER_ANALYZED:
        await reference.rows.analyze()
        measurements = await alternate(phase, loaded, reference)
    else:
        await put_in_the_way(loaded.rows, phase, count)
        measurements = await alternate(phase, loaded, reference)
        for side in sides:
            await side.rows.analyze()
        measurements += await alternate(phase + ANALYZED, loaded, reference)
    for side, connection in zip(sides, connections, strict=True):
        await side.close()
        await connection.close()
    return measurements


def main() -> None:
    options = trial_arguments(__doc__, (*SCENARIOS, NEVER_ANALYZED)).parse_args()
    measurements = asyncio.run(run_phase(options.phase, options.dsn, options.count))
    report("flowstone", f"turns of {BATCH}, a backlog of {BACKLOG:,}", *measurements)


if __name__ == "__main__":
    main()
