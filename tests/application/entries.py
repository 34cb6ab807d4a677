"""A table of an application's own, and what is written into it by whatever driver."""

from typing import Any, Literal

import psycopg
import pytest
from sqlalchemy import text

from flowstone.core.errors import JobFailedError
from flowstone.core.job_handle import JobHandle

DriverName = Literal["asyncpg", "psycopg", "sqlalchemy"]

with_every_driver = pytest.mark.parametrize("driver", ["asyncpg", "psycopg", "sqlalchemy"])

# A row's xmin is the transaction that wrote it.
SETTLED_BY = """
SELECT m.xmin::text, j.xmin::text
FROM flowstone_materializations m JOIN procrastinate_jobs j USING (id)
WHERE m.asset = %s
"""
WRITTEN_BY = "SELECT xmin::text FROM public.entries WHERE note = %s"


async def write(conn: Any, note: str) -> None:
    """Write a note on whatever connection it is."""
    match type(conn).__module__.partition(".")[0]:
        case "asyncpg":
            await conn.execute("INSERT INTO public.entries VALUES ($1)", note)
        case "psycopg":
            await conn.execute("INSERT INTO public.entries VALUES (%s)", [note])
        case _:
            await conn.execute(text("INSERT INTO public.entries VALUES (:note)"), {"note": note})


class Entries:
    """The application's own table, as others see it."""

    def __init__(self, admin: psycopg.Connection[Any]) -> None:
        self._admin = admin

    @property
    def notes(self) -> list[str]:
        found = self._admin.execute("SELECT note FROM public.entries ORDER BY note")
        return [note for (note,) in found]

    def written_by(self, note: str) -> str:
        [(transaction,)] = self._admin.execute(WRITTEN_BY, [note])
        return str(transaction)

    def settled_by(self, name: str) -> set[str]:
        [transactions] = self._admin.execute(SETTLED_BY, [name])
        return set(transactions)

    def were_settled_with(self, name: str, note: str) -> bool:
        return self.settled_by(name) == {self.written_by(note)}


async def error_of(handle: JobHandle[object]) -> str:
    """Return what a job that has ended failed with."""
    with pytest.raises(JobFailedError) as caught:
        await handle.result(timeout=60)
    return str(caught.value)
