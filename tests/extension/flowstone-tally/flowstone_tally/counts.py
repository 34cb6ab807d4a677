"""Where the counts are: in memory, or in the plugin's table."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg import sql

from flowstone.core.contracts.host import Host
from flowstone.core.contracts.resource import Resource
from flowstone.core.status import RunStatus

ADD = """
INSERT INTO {schema}.tally_counts AS c (name, count) VALUES (%s, %s)
ON CONFLICT (name) DO UPDATE SET count = c.count + excluded.count
RETURNING count"""
REACHED = """
SELECT w.materialization_id, c.name, c.count
FROM {schema}.waiting w
JOIN {schema}.tally_counts c ON c.name = w.state ->> 'name'
WHERE w.waiting_on LIKE 'tally:%%' AND c.count >= (w.state ->> 'at_least')::bigint
"""


class Counts(Counter[str]):
    """The counts of an application without a database; a resource of the plugin."""


class CountsResource(Resource[Counts]):
    async def setup(self, config: Mapping[str, object]) -> Counts:
        return Counts()


class Connection:
    """The counts of an application with a database."""

    def __init__(self, dsn: str, schema: str) -> None:
        self._dsn = dsn
        self._schema = schema

    async def __aenter__(self) -> "Connection":
        self._connection = await psycopg.AsyncConnection.connect(self._dsn, autocommit=True)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._connection.close()

    async def add(self, name: str, by: int) -> int:
        ((count,),) = await self._fetch(ADD, name, by)
        return count

    async def reached(self) -> list[tuple[int, str, int]]:
        """Return what waits for a count that is reached: materialization, name, count."""
        return await self._fetch(REACHED)

    async def _fetch(self, statement: str, *arguments: object) -> list[Any]:
        # Names go with the schema: a pooler may give every statement another session.
        query = sql.SQL(statement).format(schema=sql.Identifier(self._schema))
        return await (await self._connection.execute(query, arguments)).fetchall()


async def reached_in_memory(app: Host) -> list[tuple[int, str, int]]:
    """Return the same without a database."""
    counts, found = app.resources.get(Counts), []
    for run in await app.store.runs(status=RunStatus.RUNNING, limit=1000):
        for it in await app.store.materializations(run.run_id):
            kind, _, rest = (it.waiting_on or "").partition(":")
            name, _, at_least = rest.rpartition(":")
            if kind == "tally" and counts[name] >= int(at_least):
                found.append((it.id, name, counts[name]))
    return found
