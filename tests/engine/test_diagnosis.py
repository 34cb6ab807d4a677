"""What is wrong with a server or its tables, how much it matters and what mends it."""

import psycopg
import pytest

from flowstone.core.contracts.health import Finding, Level
from flowstone.engine import diagnosis
from flowstone.engine.diagnosis import examine

TESTED = (diagnosis.OLDEST_SERVER, diagnosis.NEWEST_SERVER)


def found(dsn: str) -> dict[str, Finding]:
    """Return the last finding of each check."""
    return {it.check: it for it in examine(dsn)}


@pytest.mark.parametrize(
    ("oldest", "newest", "level", "message"),
    [
        (99, 99, Level.FAIL, "is too old"),
        (1, 1, Level.WARN, "is newer than this FlowStone was tested with"),
        (*TESTED, Level.OK, "Postgres 1"),
    ],
    ids=["too old", "too new", "tested"],
)
def test_a_server_is_of_a_version_that_is_tested(
    dsn: str, monkeypatch: pytest.MonkeyPatch, oldest: int, newest: int, level: Level, message: str
) -> None:
    monkeypatch.setattr(diagnosis, "OLDEST_SERVER", oldest)
    monkeypatch.setattr(diagnosis, "NEWEST_SERVER", newest)

    server = found(dsn)["server"]

    assert server.level is level
    assert message in server.message
    assert server.mend == ("a server from 99 to 99" if level is Level.FAIL else None)


def test_a_server_that_takes_no_writes_fails(dsn: str) -> None:
    assert "writing" not in found(dsn)
    with psycopg.connect(dsn, autocommit=True) as connection:
        database = connection.info.dbname
        connection.execute(
            f'ALTER DATABASE "{database}" SET default_transaction_read_only = on'.encode()
        )

    writing = found(dsn)["writing"]

    assert (writing.level, writing.mend) == (Level.FAIL, "give the DSN of the primary")


def test_tables_that_somebody_has_broken_fail(dsn: str) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute("DROP TABLE flowstone.flowstone_workers CASCADE")

    tables = found(dsn)["tables"]

    assert (tables.level, tables.mend) == (Level.FAIL, "flowstone db status")
    assert "does not exist" in tables.message
