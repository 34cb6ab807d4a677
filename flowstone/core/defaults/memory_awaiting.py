"""Materializations that wait for others themselves, by the rules of ``34_awaiting.sql``."""

from collections.abc import Mapping, Sequence

from flowstone.core.contracts.awaiting import Awaited
from flowstone.core.defaults.memory_rows import Row
from flowstone.core.outcome import Until
from flowstone.core.status import Status


def is_met(until: Until | None, rows: Mapping[int, Row]) -> bool:
    """Return whether a wait has come to its end by itself."""
    if until is None:
        return False
    lost = (rows[it].status for it in until.any_lost if it in rows)
    if any(status.is_terminal and status is not Status.SUCCEEDED for status in lost):
        return True
    return all(rows[it].status.is_terminal for it in until.all_ended if it in rows)


def take_in(row: Row, rows: Mapping[int, Row]) -> None:
    """Let the values of what has ended be inputs of the row; the rest only came first."""
    for id_ in row.awaits:
        upstream = rows.get(id_)
        if upstream is None or not upstream.status.is_terminal:
            continue
        edges = row.inputs if upstream.status is Status.SUCCEEDED else row.follows
        if id_ not in edges:
            edges.append(id_)


def stand(ids: Sequence[int], rows: Mapping[int, Row]) -> list[Awaited]:
    """Return how these stand."""
    found = (rows[id_] for id_ in ids if id_ in rows)
    return [Awaited(it.id, it.key, it.status, it.error) for it in found]
