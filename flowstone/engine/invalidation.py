"""How much an invalidation would reach, found out by doing it and taking it back."""

from collections.abc import Sequence

from flowstone.core.contracts.store import Key
from flowstone.engine.schema import transaction
from flowstone.engine.statements import qualified


def count_invalidated(
    dsn: str, keys: Sequence[Key], *, downstream: bool, schema: str = "flowstone"
) -> int:
    """
    Return what `Store.invalidate` with these arguments would return now; nothing is changed.

    It is rolled back; until then, a few milliseconds, the rows of what it reaches are locked.
    """
    with transaction(dsn, schema) as connection:
        found = connection.execute(
            f"SELECT {qualified(schema, 'flowstone_invalidate_v1')}(%s, %s, %s, NULL)".encode(),
            [[key.asset for key in keys], [key.partition for key in keys], downstream],
        ).fetchone()
        connection.rollback()
    return int(str(found[0])) if found else 0
