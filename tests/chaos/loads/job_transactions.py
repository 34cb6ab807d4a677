"""
Jobs in the caller's transaction, which is committed, rolled back, or lost.

A row of the caller's own goes along: it exists if, and only if, the job does.
"""

import psycopg

from flowstone import FlowStone
from tests.chaos.client import Client
from tests.chaos.loads.jobs import a_call
from tests.chaos.loads.transactions import LOST

MEAN_SECONDS = 0.6
INTEND = "INSERT INTO chaos.job_intents (note, job_id) VALUES ({}, {})"


class _NoNeedError(Exception):
    """The caller changes his mind."""


async def drive(client: Client) -> None:
    note = client.text("job_transactions")
    client.asked.job_transactions[note] = "unknown"
    commits = client.chance.random() < 0.6
    write = client.chance.choice([_with_asyncpg, _with_psycopg])
    try:
        job_id = await write(client, client.app, note, commits=commits)
    except _NoNeedError:
        client.asked.job_transactions[note] = "rolled back"
    except LOST:
        client.asked.refused += 1
    else:
        client.asked.job_transactions[note] = "committed"
        client.asked.jobs[job_id] = (note, "job_transactions", 0.0)
    await client.pause(MEAN_SECONDS)


async def _with_asyncpg(client: Client, app: FlowStone, note: str, *, commits: bool) -> int:
    async with client.server.connected() as conn, conn.transaction():
        handle = await app.enqueue(a_call(client, app, note), conn=conn)
        await conn.execute(INTEND.format("$1", "$2"), note, handle.job_id)
        if not commits:
            raise _NoNeedError
    return handle.job_id


async def _with_psycopg(client: Client, app: FlowStone, note: str, *, commits: bool) -> int:
    conn = await psycopg.AsyncConnection.connect(client.server.dsn)
    async with conn, conn.transaction():
        handle = await app.enqueue(a_call(client, app, note), conn=conn)
        await conn.execute(INTEND.format("%s", "%s").encode(), [note, handle.job_id])
        if not commits:
            raise _NoNeedError
    return handle.job_id
