"""
A query read along a key: the rows after the last ones, in the key's order.

The author's query becomes a subquery. A key's values travel as text in both directions, cast by the
server to the type of their column, so that they come back exactly as they were.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from flowstone.engine.statements import quoted

CURSOR = "flowstone_cursor"
"""The column with the key's values as text; taken out of the row again."""


@dataclass(frozen=True, slots=True)
class KeysetQuery:
    """
    What pages are asked with.

    Attributes:
        query: The author's, with ``$1`` … ``$n``.
        arguments: How many of these it has.
        fields: Of the key.
        types: Of the fields: qualified names.
        is_descending: Read from the greatest.
    """

    query: str
    arguments: int
    fields: Sequence[str]
    types: Sequence[str]
    is_descending: bool

    @property
    def page(self) -> str:
        """Rows from the beginning; the last parameter is how many."""
        return self._page("", self.arguments + 1)

    @property
    def next_page(self) -> str:
        """Rows after a key, whose values come before the last parameter."""
        numbered = enumerate(self.types, self.arguments + 1)
        values = ", ".join(f"${number}::text::{type_}" for number, type_ in numbered)
        than = "<" if self.is_descending else ">"
        where = f" WHERE ({self._columns()}) {than} ({values})"
        return self._page(where, self.arguments + len(self.types) + 1)

    @property
    def without_key(self) -> str:
        """Whether there is a row with no value in a field of the key."""
        missing = " OR ".join(f"q.{quoted(field)} IS NULL" for field in self.fields)
        return f"SELECT EXISTS (SELECT FROM ({self.query}) AS q WHERE {missing})"

    @property
    def count(self) -> str:
        """How many rows there are."""
        return f"SELECT count(*) FROM ({self.query}) AS q"

    def _page(self, where: str, limit: int) -> str:
        direction = " DESC" if self.is_descending else ""
        order = ", ".join(f"q.{quoted(field)}{direction}" for field in self.fields)
        texts = ", ".join(f"q.{quoted(field)}::text" for field in self.fields)
        return (
            f"SELECT q.*, ARRAY[{texts}] AS {CURSOR} FROM ({self.query}) AS q{where} "
            f"ORDER BY {order} LIMIT ${limit}::int8"
        )

    def _columns(self) -> str:
        return ", ".join(f"q.{quoted(field)}" for field in self.fields)
