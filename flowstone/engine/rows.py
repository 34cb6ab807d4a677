"""Between the records of the store contract and the rows and arrays of the SQL functions."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, TypeVar

import asyncpg

from flowstone.core.contracts.store import (
    Claim,
    Current,
    Key,
    Malformed,
    MaterializationRecord,
    NewRun,
    PlannedStep,
    Progress,
    RunRecord,
    Settlement,
    StoredInput,
    Turn,
)
from flowstone.core.outcome import Wake
from flowstone.core.retention import Retention
from flowstone.core.status import RunStatus, Status

# Any: what a column holds is said by the SQL function, and by the record that it becomes.
Row = Mapping[str, Any]
T = TypeVar("T")

SETTLEMENT_TYPES = (
    "bigint[]", "integer[]", "smallint[]", "text[]", "text[]", "text[]", "text[]", "text[]",
    "bigint[]", "integer[]", "text[]",
)  # fmt: skip
RUN_TYPES = (
    "text", "text", "text", "timestamptz", "bigint", "bigint[]", "text[]", "text[]", "text[]",
    "integer[]", "text[]", "integer[]", "text[]", "text[]", "text[]", "text[]", "text[]", "text[]",
    "text[]", "boolean[]", "bigint[]", "text[]",
)  # fmt: skip


def milliseconds(delay: timedelta | None) -> int | None:
    """Return the delay as whole milliseconds; a tiny one stays above zero."""
    if delay is None:
        return None
    return -(-delay // timedelta(milliseconds=1))


def job_periods(retention: Retention) -> tuple[Sequence[object], ...]:
    """Return the periods of jobs as the arrays of ``flowstone_prune_v1``."""
    queues, jobs, failed = zip(*retention.of_jobs, strict=True)
    return list(queues), [*map(milliseconds, jobs)], [*map(milliseconds, failed)]


def column(values: Sequence[T]) -> Sequence[T]:
    """
    Return what is the same for all of them once, and anything else as it is.

    For what is never null: the functions that write many rows take the first one for those that
    have none, as an array is not free to encode.
    """
    return values[:1] if values.count(values[0] if values else None) == len(values) else values


def settlement_arrays(settlements: Sequence[Settlement]) -> tuple[Sequence[object] | None, ...]:
    """
    Return the settlements, which are sorted by id, as the arrays of ``flowstone_turn_v1``.

    None for a column that says nothing: an array is not free to encode, however empty.
    """
    if not settlements:
        return (None,) * len(SETTLEMENT_TYPES)
    plain = all(s.error is None and s.delay is None and s.wait is None for s in settlements)
    internal = all(s.io is None for s in settlements)
    return (
        [s.id for s in settlements],
        [s.claim for s in settlements],
        [s.event.value for s in settlements],
        [s.value for s in settlements],
        None if internal else [s.io for s in settlements],
        None if internal else [s.location for s in settlements],
        [s.version for s in settlements],
        None if plain else [s.error for s in settlements],
        None if plain else [milliseconds(s.delay) for s in settlements],
        [s.duration_ms for s in settlements],
        None if plain else [_wait_text(s) for s in settlements],
    )


def _wait_text(settlement: Settlement) -> str | None:
    wait = settlement.wait
    if wait is None:
        return None
    said = {"on": wait.on, "external": wait.external, "whom": wait.whom}
    if wait.until is not None:
        said["all_ended"] = _literal(wait.until.all_ended)
        said["any_lost"] = _literal(wait.until.any_lost)
    return f'{json.dumps(said)[:-1]}, "state": {wait.state}}}'


def run_arrays(run: NewRun) -> tuple[object, ...]:
    """Return the run as the arguments of ``flowstone_create_run_v1``."""
    steps = run.steps
    return (
        json.dumps([{"asset": key.asset, "partition": key.partition} for key in run.targets]),
        run.options,
        run.dedupe,
        run.at,
        run.retry_of,
        [step.id for step in steps],
        [step.key.asset for step in steps],
        [step.key.partition for step in steps],
        column([step.queue for step in steps]),
        column([step.priority for step in steps]),
        column([step.reason for step in steps]),
        column([step.unmet for step in steps]),
        _literals([step.inputs for step in steps]),
        _literals([step.follows for step in steps]),
        _literals([step.dependents for step in steps]),
        _literals([step.optional_dependents for step in steps]),
        *_awaiting(steps),
        [reused.materialization_id for reused in run.reused],
        [reused.reason for reused in run.reused],
    )


def _awaiting(steps: Sequence[PlannedStep]) -> tuple[Sequence[object] | None, ...]:
    """Return the arrays of what waits for others itself; None each for a run without such."""
    if not any(step.awaits for step in steps):
        return (None,) * 4
    return (
        _literals([step.awaits for step in steps]),
        _literals([step.awaited_by for step in steps]),
        _literals([step.starts for step in steps]),
        [step.is_tolerated for step in steps],
    )


def _literals(lists: Sequence[Collection[int]]) -> Sequence[str | None] | None:
    """Return the lists as array literals, None for an empty one; None when all are."""
    return [_literal(ids) if ids else None for ids in lists] if any(lists) else None


def _literal(ids: Iterable[int]) -> str:
    return "{" + ",".join(map(str, ids)) + "}"


def turn_from(rows: Sequence[asyncpg.Record]) -> Turn:
    """Return what ``flowstone_turn_v1`` answered."""
    claims: list[Claim] = []
    turn = Turn(claims=claims)
    refused: list[int] = []
    malformed: list[Malformed] = []
    for row in rows:
        kind = row[0]
        if kind == "claim":
            claims.append(_claim(row))
        elif kind == "refused":
            refused.append(row[1])
        elif kind == "malformed":
            ended = Status(row[5]) if row[5] else None
            malformed.append(Malformed(row[1], row[4], ended, row[3]))
        elif kind == "held":
            turn.held = timedelta(milliseconds=row[1])
        else:
            turn.next_due = timedelta(milliseconds=row[1])
    turn.refused, turn.malformed = refused, malformed
    return turn


def _claim(row: asyncpg.Record) -> Claim:
    (_, id_, claim, run_id, asset, partition, attempt, options,
     ids, assets, ios, places, values, wake, queue, rescues, arguments, assists) = row  # fmt: skip
    return Claim(
        id_,
        claim,
        run_id,
        asset,
        partition,
        attempt,
        list(map(StoredInput, assets, ids, ios, places, values)) if ids else (),
        options,
        _wake(wake) if wake else None,
        queue,
        rescues,
        arguments,
        assists,
    )


def _wake(text: str) -> Wake:
    wake = json.loads(text)
    return Wake(wake["on"], wake["state"], wake["payload"], wake["timed_out"])


def current_from(
    keys: Sequence[Key], rows: Sequence[Row]
) -> tuple[Mapping[Key, Current], Sequence[int]]:
    """Return what ``flowstone_current_v1`` answered about the keys."""
    found: dict[Key, Current] = {}
    reserved: Sequence[int] = ()
    for row in rows:
        if row["ordinal"] == 0:
            reserved = row["reserved"]
        else:
            found[keys[row["ordinal"] - 1]] = Current(
                row["materialization_id"],
                row["io"],
                row["location"],
                row["version"],
                tuple(row["upstreams"]),
                row["materialized_at"],
                row["invalidated"],
            )
    return found, reserved


def run_from(row: Row) -> RunRecord:
    """Return a row of ``flowstone_runs_v1``."""
    return RunRecord(
        row["run_id"],
        RunStatus(row["status"]),
        tuple(Key(it["asset"], it["partition"]) for it in json.loads(row["targets"])),
        row["options"],
        row["created_at"],
        row["finished_at"],
        {Status(name): count for name, count in json.loads(row["counts"]).items()},
        row["reused_count"],
        row["retry_of"],
    )


def progress_from(found: Sequence[Row]) -> Progress:
    """Return what ``flowstone_progress_v1`` answered; there is a row."""
    first = found[0]
    return Progress(
        RunStatus(first["run_status"]),
        first["created_at"],
        first["run_finished_at"],
        [materialization_from(row) for row in found if row["id"] is not None],
        first["mark"],
        first["seen_at"],
    )


def materialization_from(row: Row) -> MaterializationRecord:
    """Return a row of ``flowstone_materializations_v1``."""
    return MaterializationRecord(
        row["id"],
        row["run_id"],
        Key(row["asset"], row["partition"]),
        Status(row["status"]),
        row["attempt"],
        row["reason"],
        row["error"],
        row["waiting_on"],
        bool(row["is_external"]),
        row["started_at"],
        row["finished_at"],
        row["duration_ms"],
        tuple(row["whom"] or ()),
    )
