"""
Scatters under the worst, with processes and a server of their own; then SQL says what held.

``kills``: workers are killed with SIGKILL in the middle of inserting, of a chunk, of settling, of
gathering. ``limits``: what `max_concurrent` and `rate_limit` allow, and how much of it was used.
Exit code 1: something did not hold.
"""

import argparse
import asyncio
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

import asyncpg

from flowstone.engine.dsn import for_asyncpg
from flowstone.engine.embedded import EmbeddedPostgres
from flowstone.engine.schema import migrate
from tests.plugins.conftest import tables_of_plugins
from tests.scenarios.ledger import FOLDER, Ledger
from tests.scenarios.spawned import Spawner

SETTINGS = {"track_commit_timestamp": "on", "max_connections": "200"}


@contextmanager
def server() -> Iterator[str]:
    with EmbeddedPostgres(settings=SETTINGS) as embedded:
        migrate(embedded.dsn(), tables=tables_of_plugins())
        yield embedded.dsn()


@contextmanager
def ending(spawner: Spawner, log: Path) -> Iterator[Spawner]:
    """End all processes at the end; what they said goes to a file."""
    try:
        yield spawner
    finally:
        with log.open("w", encoding="utf-8") as file, redirect_stdout(file):
            spawner.close()


async def kills(given: argparse.Namespace, dsn: str, ledger: Ledger, spawner: Spawner) -> list[str]:
    from flowstone import FlowStone
    from tests.scatters.audit import lines, violations
    from tests.scatters.kills import Killing, plan
    from tests.scenarios.consistency import until_ended
    from tests.scenarios.pipelines.scattered import scattered

    began = time.monotonic()

    def told(said: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {said}", flush=True)

    chooser = random.Random(given.seed)
    pg = await asyncpg.connect(**for_asyncpg(dsn))
    async with FlowStone([scattered], dsn=dsn) as app:
        handle = await app.enqueue("scattered.counted")
        killing = Killing(dsn, ledger, spawner, given.items, chooser, given.workers, told=told)
        await killing.run(plan(given.kills, chooser), pg)
        await until_ended(pg, handle.run_id, within=240)
    told(f"ended, after {len(lines(ledger, 'items'))} starts of {given.items} items")
    return await violations(pg, ledger, given.items, killing.looks)


async def limits(
    given: argparse.Namespace, dsn: str, ledger: Ledger, spawner: Spawner
) -> list[str]:
    from tests.scatters.limits import measured

    found = []
    for name in ("limited", "rated"):
        use = await measured(name, dsn, ledger, spawner, given.workers)
        print(use, flush=True)
        found += [] if use.holds(0.9) else [f"NOT: within what is allowed, and 90 % of it: {use}"]
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.scatters", description=__doc__)
    parser.add_argument("what", choices=["kills", "limits"])
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--workers", type=int, help="how many at a time (kills: 2, limits: 4)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--limit", type=int, default=40, help="limits: max_concurrent")
    parser.add_argument("--rate", type=int, default=400, help="limits: items a second")
    parser.add_argument("--seconds", type=int, default=6, help="limits: for how long")
    given = parser.parse_args(arguments)
    given.workers = given.workers or (2 if given.what == "kills" else 4)
    body_ms = 50
    settings = {
        "ITEMS": given.items, "PAGE": 1000, "PAGE_MS": 60, "AT_ONCE": 1000,
        "LIMIT": given.limit, "RATE": given.rate, "BODY_MS": body_ms,
        "LIMITED": given.limit * given.seconds * 1000 // body_ms,
        "RATED": given.rate * given.seconds,
    }  # fmt: skip
    os.environ |= {f"SCATTERED_{name}": str(value) for name, value in settings.items()}
    folder = Path(tempfile.mkdtemp(prefix=f"scatters-{given.what}-{given.seed}-"))
    os.environ[FOLDER] = str(folder)
    print(f"what happens is written to {folder}", flush=True)
    run = kills if given.what == "kills" else limits
    with server() as dsn, ending(Spawner(folder), folder / "workers.log") as spawner:
        found = asyncio.run(run(given, dsn, Ledger(folder), spawner))
    print("\n".join(found) or "everything held")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
