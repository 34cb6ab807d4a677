"""What a run does, as typed events; the source is `flowstone.core.following`."""

from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from flowstone.core.contracts.store import MaterializationRecord, Progress, Store
from flowstone.core.error_record import read_record
from flowstone.core.errors import InvalidOptionError
from flowstone.core.following import Following
from flowstone.core.json_value import JsonValue
from flowstone.core.status import RunStatus, Status


@dataclass(frozen=True, slots=True)
class RunEvent:
    """
    A run began or ended.

    Attributes:
        at: When, by the store's clock.
    """

    run_id: int
    status: RunStatus
    at: datetime


@dataclass(frozen=True, slots=True)
class AssetEvent:
    """
    A materialization moved.

    Attributes:
        asset: Its full name.
        partition: Encoded; empty is none.
        attempt: 1 for the first.
        at: When it started or ended, by the store's clock; of what is ready or waits, when that was
            seen.
        waiting_on: What it waits for, while it waits.
        whom: Whom it waits for, or what exactly, for people.
        external: Whether only an outside event can end that wait.
        error: The record of its last failure, or the reason of a skip or a cancel; empty without.
    """

    run_id: int
    materialization_id: int
    asset: str
    partition: str
    status: Status
    attempt: int
    at: datetime
    waiting_on: str | None
    whom: tuple[str, ...]
    external: bool
    error: Mapping[str, JsonValue]


Happening: TypeAlias = RunEvent | AssetEvent


async def subscribe(
    store: Store, run_id: int, *, until: str | None = None
) -> AsyncGenerator[Happening, None]:
    """
    Yield what happens in the run; see `FlowStone.subscribe`.

    Args:
        until: A topic whose publication ends it too.
    """
    if not isinstance(run_id, int) or isinstance(run_id, bool):
        raise InvalidOptionError(f"run={run_id!r} must be the id of a run: run=handle.run_id")
    told: RunStatus | None = None
    async with aclosing(Following(store, run_id).looks(until=until)) as looks:
        async for found in looks:
            if told is None and not found.status.is_terminal:
                told = found.status
                yield RunEvent(run_id, told, found.created_at)
            for event in _moves(found):
                yield event
            if found.status.is_terminal:
                yield RunEvent(run_id, found.status, found.finished_at or found.seen_at)


def _moves(found: Progress) -> Iterator[AssetEvent]:
    """In the order in which they happened, as far as the rows tell."""
    events = [_event(it, found) for it in found.changed if it.status is not Status.PENDING]
    return iter(sorted(events, key=lambda it: (it.at, it.materialization_id)))


def _event(it: MaterializationRecord, found: Progress) -> AssetEvent:
    at = it.finished_at or (it.started_at if it.status is Status.RUNNING else None)
    return AssetEvent(
        run_id=it.run_id,
        materialization_id=it.id,
        asset=it.key.asset,
        partition=it.key.partition,
        status=it.status,
        attempt=it.attempt,
        at=at or found.seen_at,
        waiting_on=it.waiting_on,
        whom=it.whom,
        external=it.external,
        error=read_record(it.error),
    )
