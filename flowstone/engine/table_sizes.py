"""How large each table in the schema is, and what keeps it from growing without bound."""

from collections import ChainMap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from psycopg.rows import args_row

from flowstone.core.contracts.tables import Tables
from flowstone.engine.revisions import lines_of
from flowstone.engine.schema import NO_TABLES, transaction

BOUNDS: Mapping[str, str] = {
    "alembic_version": "one row",
    "flowstone_attached_tables": "one row for each table of a plugin whose rows go with their "
    "materialization",
    "flowstone_current": "one row for each partition of an asset that has a value",
    "flowstone_errors": "go with their run, or with their job, by retention",
    "flowstone_interventions": "emptied by the next reconciling",
    "flowstone_leases": "a row for each thing that one worker does; pruned a day after it lapsed",
    "flowstone_limit_slots": "one row for each slot that an attempt holds; those of attempts that "
    "have ended go when the next one is asked for",
    "flowstone_limit_uses": "at most a thousand rows for each limit with a rate; deleted when "
    "their period has passed",
    "flowstone_limits": "one row for each limit, in code or set by hand",
    "flowstone_lineage": "goes with what was made, by retention",
    "flowstone_materializations": "retention (runs, failed, jobs, failed_jobs); current ones, and "
    "what they were made from, stay",
    "flowstone_pruning": "thirteen rows, and two for each queue with periods of its own",
    "flowstone_queues": "one row for each queue that somebody has said something about",
    "flowstone_rate_uses": "at most a thousand rows for each rate limit; deleted when their period "
    "has passed",
    "flowstone_reused": "goes with its run, by retention (runs, failed)",
    "flowstone_runs": "retention (runs, failed)",
    "flowstone_schedules": "one row for each schedule, in code or added by hand",
    "flowstone_served_code": "one row for FlowStone and each plugin with tables",
    "flowstone_unique_keys": "one row for each unique job, while it is in a state that its key "
    "covers; goes with the job at the latest",
    "flowstone_values": "retention (values, jobs, failed_jobs); current ones stay",
    "flowstone_waits": "one row for each materialization that waits or was woken; goes with its "
    "end",
    "flowstone_workers": "one row for each worker that lives; taken over within its lease",
    "procrastinate_events": "go with their job; of a job still to do, by retention (runs, or else "
    "jobs)",
    "procrastinate_jobs": "ours go with their run, or as jobs, by retention; those of your own "
    "tasks are yours",
    "procrastinate_periodic_defers": "procrastinate keeps one row for each periodic task",
    "procrastinate_workers": "one row for each worker that lives; procrastinate prunes its own",
}
"""For each table of ours and of procrastinate's, the policy that prunes it or why it is bounded."""

OTHERS = "not ours: whoever made it"


@dataclass(frozen=True, slots=True)
class TableSize:
    """
    One table.

    Attributes:
        row_count: Counted where the table is small, else as the database estimates it.
        total_bytes: With its indexes and what is stored apart (TOAST).
    """

    table: str
    row_count: int
    is_estimate: bool
    total_bytes: int
    index_bytes: int
    bound: str


def table_sizes(
    dsn: str, schema: str = "flowstone", *, tables: Mapping[str, Tables] = NO_TABLES
) -> Sequence[TableSize]:
    """
    Return every table in the schema, the largest first.

    Args:
        tables: What plugins bring, by name.
    """
    versions = {it.version_table: BOUNDS["alembic_version"] for it in lines_of(tables)}
    bounds = ChainMap(versions, *(dict(it.bounds) for it in tables.values()), dict(BOUNDS))
    with (
        transaction(dsn, schema, migrated=True) as connection,
        connection.cursor(row_factory=args_row(partial(_table_size, bounds))) as cursor,
    ):
        return cursor.execute("SELECT * FROM flowstone_table_sizes_v1()").fetchall()


def _table_size(
    bounds: Mapping[str, str], table: str, rows: int, is_estimate: bool, total: int, index: int
) -> TableSize:
    return TableSize(table, rows, is_estimate, total, index, bounds.get(table, OTHERS))
