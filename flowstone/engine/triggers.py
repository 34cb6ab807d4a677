"""
procrastinate's row triggers, or ours that work by statement.

A turn inserts or settles a hundred jobs with one statement. procrastinate's triggers then insert a
hundred events one by one, and send two hundred notifications for new jobs; ours insert the same
events at once and notify once per queue. Its triggers are disabled and not dropped, so either set
can take over at any time: the switch is one transaction, and statements wait for it.

Some more, which note what others do to our jobs, stay on with either.
"""

from enum import StrEnum

from flowstone.engine.fingerprint import BATCHED_TRIGGERS, read, trigger_differences
from flowstone.engine.schema import transaction
from flowstone.engine.statements import script


class TriggerSet(StrEnum):
    """Which triggers record what happens to jobs; MIXED loses events or writes them twice."""

    BATCHED = "batched"
    STOCK = "stock"
    MIXED = "mixed"


def install(dsn: str, schema: str = "flowstone") -> None:
    """Put ours in the place of procrastinate's; done twice, it changes nothing."""
    _run("procrastinate/triggers.sql", dsn, schema)


def restore(dsn: str, schema: str = "flowstone") -> None:
    """Give procrastinate its own triggers back; done twice, it changes nothing."""
    _run("procrastinate/restore.sql", dsn, schema)


def status(dsn: str, schema: str = "flowstone") -> TriggerSet:
    """Say which set is in force; reads only."""
    with transaction(dsn, schema, migrated=True) as connection:
        enabled = read(connection).enabled
    if trigger_differences(enabled):
        return TriggerSet.MIXED
    is_batched = any(enabled.get(name) for name in BATCHED_TRIGGERS)
    return TriggerSet.BATCHED if is_batched else TriggerSet.STOCK


def _run(name: str, dsn: str, schema: str) -> None:
    with transaction(dsn, schema, migrated=True) as connection:
        for file in (name, "procrastinate/interventions.sql"):
            connection.execute(script(file).encode())
