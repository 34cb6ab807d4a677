"""Asking for help costs neither a driver nor a noticeable wait."""

import time

from tests.architecture.imports import loaded_by, quickest
from tests.architecture.sources import python

LIMIT_MS = 150.0
HEAVY = {"alembic", "asyncpg", "procrastinate", "psycopg", "psycopg_pool", "sqlalchemy"}


def test_help_loads_no_driver() -> None:
    loaded = {name.partition(".")[0] for name in loaded_by("-m", "flowstone", "--help")}

    assert loaded & HEAVY == set()


def test_help_is_there_within_150_ms() -> None:
    def measure() -> float:
        begun = time.perf_counter()
        python("-m", "flowstone", "--help")
        return (time.perf_counter() - begun) * 1000

    assert quickest(measure, limit=LIMIT_MS) <= LIMIT_MS
