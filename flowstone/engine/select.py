"""
One read-only statement, for people who ask a database of ours a question in SQL.

Whatever the statement is, it changes nothing: its transaction is read-only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flowstone.engine.schema import transaction


@dataclass(frozen=True, slots=True)
class Answer:
    """What a statement returned: the names of its columns, and its rows in their order."""

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]

    def mappings(self) -> list[dict[str, object]]:
        """Return each row by column."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


def select(
    dsn: str,
    statement: str,
    parameters: Mapping[str, object] | None = None,
    *,
    schema: str = "flowstone",
) -> Answer:
    """
    Return what one statement says; unqualified names mean the schema.

    Args:
        parameters: By the name that ``%(name)s`` has in the statement. Without them the statement
            is taken as it is: a percent sign is a percent sign.

    Raises:
        DatabaseError: The statement is wrong, or wanted to write.
        DatabaseUnreachableError: Nobody answers at the DSN.
    """
    with transaction(dsn, schema) as connection:
        connection.execute("SET TRANSACTION READ ONLY")
        cursor = connection.execute(statement.encode(), parameters)
        columns = [column.name for column in cursor.description or ()]
        return Answer(columns, cursor.fetchall() if columns else [])
