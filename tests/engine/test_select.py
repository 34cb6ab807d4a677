"""Questions in SQL are answered, and change nothing."""

import pytest

from flowstone.core.errors import DatabaseError, DatabaseUnreachableError
from flowstone.engine.select import Answer, select


def test_a_statement_is_answered_with_its_columns_and_rows(dsn: str) -> None:
    answer = select(dsn, "SELECT n AS number, n % 2 = 0 AS even FROM generate_series(1, 2) n")

    assert answer == Answer(["number", "even"], [(1, False), (2, True)])
    assert answer.mappings() == [{"number": 1, "even": False}, {"number": 2, "even": True}]


def test_unqualified_names_mean_the_schema(dsn: str) -> None:
    assert select(dsn, "SELECT * FROM run_progress WHERE run_id = 1").rows == []


def test_a_statement_that_returns_nothing_has_no_columns(dsn: str) -> None:
    assert select(dsn, "SET LOCAL work_mem = '8MB'") == Answer([], [])


@pytest.mark.parametrize(
    ("statement", "sqlstate"),
    [
        pytest.param("DELETE FROM flowstone_runs", "25006", id="one that writes"),
        pytest.param("SELECT no_column FROM runs", "42703", id="one about what is not there"),
        pytest.param("SELEKT", "42601", id="one that is no SQL"),
    ],
)
def test_a_statement_that_cannot_be_answered_is_refused(
    dsn: str, statement: str, sqlstate: str
) -> None:
    with pytest.raises(DatabaseError) as refused:
        select(dsn, statement)

    assert refused.value.sqlstate == sqlstate


def test_nobody_answers_at_a_wrong_address() -> None:
    with pytest.raises(DatabaseUnreachableError):
        select("postgresql://nobody@/nothing?host=/nonexistent", "SELECT 1")
