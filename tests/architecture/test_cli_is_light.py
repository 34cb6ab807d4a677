"""Asking for help costs neither a driver nor a noticeable wait."""

import time

from tests.architecture.imports import is_quick, loaded_by, third_party
from tests.architecture.sources import tool

HEAVY = {"alembic", "asyncpg", "procrastinate", "psycopg", "psycopg_pool", "sqlalchemy"}


def test_help_loads_no_driver() -> None:
    assert third_party(loaded_by("-m", "flowstone", "--help")) & HEAVY == set()


def test_help_is_there_within_150_ms() -> None:
    assert is_quick(_help_ms, limit_ms=150)


def _help_ms() -> float:
    begun = time.perf_counter()
    assert tool("flowstone", "--help").returncode == 0
    return (time.perf_counter() - begun) * 1000
