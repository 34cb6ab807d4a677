"""Which rows of the memory store a selection of jobs means."""

from collections.abc import Collection, Iterator
from datetime import datetime

from flowstone.core.contracts.job_selection import JobSelection
from flowstone.core.defaults.memory_rows import Row


def selected(
    rows: dict[int, Row], selection: JobSelection, before: int | None, now: datetime
) -> Iterator[Row]:
    """Yield the jobs that are meant, newest first; nothing may be deleted meanwhile."""
    for row in _candidates(rows, selection.ids):
        if row.is_job and (before is None or row.id < before) and _is_meant(row, selection, now):
            yield row


def _candidates(rows: dict[int, Row], ids: Collection[int] | None) -> Iterator[Row]:
    if ids is None:
        # Jobs come into the store in the order of their ids.
        for id_ in reversed(rows):
            yield rows[id_]
        return
    for id_ in sorted(set(ids), reverse=True):
        if (row := rows.get(id_)) is not None:
            yield row


def _is_meant(row: Row, selection: JobSelection, now: datetime) -> bool:
    age = now - (row.finished_at or row.run.created_at)
    return (
        (selection.name is None or row.key.asset == selection.name)
        and (selection.queue is None or row.queue == selection.queue)
        and (selection.statuses is None or row.status in selection.statuses)
        and (selection.older_than is None or age >= selection.older_than)
        and (selection.newer_than is None or age < selection.newer_than)
    )
