"""
Runs in the caller's transaction, which is committed, rolled back, or lost.

A row of the caller's own goes along: it exists if, and only if, the run does.
"""

import asyncpg
import psycopg

from flowstone import FlowStone
from flowstone.core.errors import DatabaseError
from tests.chaos.client import Client
from tests.chaos.dag import PARTITIONS
from tests.chaos.loads.dags import some_targets

MEAN_SECONDS = 0.5
LOST = (
    DatabaseError,
    OSError,
    TimeoutError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    psycopg.Error,
)
"""What a caller sees of his own connection's end."""

INTEND = "INSERT INTO chaos.intents (request, run_id) VALUES ({}, {})"


class _NoNeedError(Exception):
    """The caller changes his mind."""


async def drive(client: Client) -> None:
    text = client.text("transaction")
    client.asked.transactions[text] = "unknown"
    commits = client.chance.random() < 0.6
    write = client.chance.choice([_with_asyncpg, _with_psycopg])
    try:
        run_id = await write(client, client.app, text, commits=commits)
    except _NoNeedError:
        client.asked.transactions[text] = "rolled back"
    except LOST:
        client.asked.refused += 1
    else:
        client.asked.transactions[text] = "committed"
        client.asked.runs[run_id] = "transactions"
    await client.pause(MEAN_SECONDS)


async def _with_asyncpg(client: Client, app: FlowStone, text: str, *, commits: bool) -> int:
    async with client.server.connected() as conn, conn.transaction():
        handle = await app.enqueue(
            some_targets(client)[0],
            partition=client.chance.choice(PARTITIONS),
            force=True,
            conn=conn,
            dedupe=text,
        )
        await conn.execute(INTEND.format("$1", "$2"), text, handle.run_id)
        if not commits:
            raise _NoNeedError
    return handle.run_id


async def _with_psycopg(client: Client, app: FlowStone, text: str, *, commits: bool) -> int:
    conn = await psycopg.AsyncConnection.connect(client.server.dsn)
    async with conn, conn.transaction():
        handle = await app.enqueue(
            some_targets(client)[0],
            partition=client.chance.choice(PARTITIONS),
            force=True,
            conn=conn,
            dedupe=text,
        )
        await conn.execute(INTEND.format("%s", "%s").encode(), [text, handle.run_id])
        if not commits:
            raise _NoNeedError
    return handle.run_id
