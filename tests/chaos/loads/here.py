"""Runs that a client works on itself, with workers beside it; some of them are given up."""

import asyncio
from contextlib import suppress

from flowstone import RunFailedError, RunWaiting
from flowstone.core.errors import DatabaseError, DependencyNotReadyError, RunCancelledError
from tests.chaos.client import Client
from tests.chaos.dag import PARTITIONS
from tests.chaos.loads.dags import some_targets

MEAN_SECONDS = 2.0
EXPECTED = (DatabaseError, RunFailedError, RunCancelledError, RunWaiting, DependencyNotReadyError)


async def drive(client: Client) -> None:
    app = client.app
    target = some_targets(client)[0]
    names = {target, *app.definitions.dag.ancestors([target])}
    if any(name.endswith("_blocking") for name in names):
        return  # what holds up this process would hold up the faults
    running = app.run(target, partition=client.chance.choice(PARTITIONS), force=True)
    patience = client.chance.choice([1.0, 30.0])
    with suppress(*EXPECTED, TimeoutError):
        async with asyncio.timeout(patience):
            await running
    await client.pause(MEAN_SECONDS)
