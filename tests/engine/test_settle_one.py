"""One claim that succeeded is settled by a function of its own, and leaves what a batch does."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

import asyncpg

from flowstone.core.contracts.store import Claim, Settlement
from flowstone.engine.store import PostgresStore
from flowstone.testing.contracts.store_runs import (
    SmallRun,
    Worker,
    new_run,
    new_worker,
    short_name,
    stored,
    succeeded,
)

LATE = 10**15
"""A claim that nobody has, to make a batch of two."""

PLAN = {
    "first": [],
    "left": ["first"],
    "right": ["first", ">left"],
    "odd": ["first?"],
    "last": ["left", "right", "odd"],
    "waiting": ["&left", "&odd?"],
    "held": ["waiting"],
}

OF_RUN = "(SELECT id FROM flowstone_materializations WHERE run_id = $1)"
ROWS = {
    "materializations": """
        SELECT to_jsonb(m) - '{started_at,finished_at}'::text[]
            || jsonb_build_object('has_begun', started_at IS NOT NULL)
            || jsonb_build_object('has_ended', finished_at IS NOT NULL)
        FROM flowstone_materializations m WHERE m.run_id = $1 ORDER BY m.id
    """,
    "jobs": f"""
        SELECT to_jsonb(j) - 'args' FROM procrastinate_jobs j WHERE j.id IN {OF_RUN} ORDER BY j.id
    """,
    "events": f"""
        SELECT jsonb_build_object('job_id', e.job_id, 'type', e.type)
        FROM procrastinate_events e WHERE e.job_id IN {OF_RUN} ORDER BY e.job_id, e.id
    """,
    "run": """
        SELECT jsonb_build_object('status', status, 'open', open_count,
            'failed', failed_count, 'cancelled', cancelled_count, 'ended', finished_at IS NOT NULL)
        FROM flowstone_runs WHERE id = $1
    """,
} | {
    name: f"SELECT to_jsonb(t) FROM {table} t WHERE materialization_id IN {OF_RUN} ORDER BY t"
    for name, table in {
        "values": "(SELECT materialization_id, size_bytes, value::text FROM flowstone_values)",
        "lineage": "flowstone_lineage",
        "current": "flowstone_current",
        "waits": "(SELECT materialization_id FROM flowstone_waits)",
    }.items()
}

IDS = {
    "id", "job_id", "materialization_id", "upstream_id", "inputs", "follows", "dependents",
    "optional_dependents", "awaits", "awaited_by", "starts",
}  # fmt: skip
OF_THE_RUN = {"run_id", "partition"}


async def left(pg: asyncpg.Connection, run: SmallRun) -> Mapping[str, Sequence[object]]:
    """Return all that the database has of a run, with names for ids."""
    names = {id_: name for name, id_ in run.ids.items()}
    await pg.execute("SET search_path TO flowstone")
    found: dict[str, Sequence[object]] = {}
    for what, statement in ROWS.items():
        found[what] = [
            {
                column: _named(value, names) if column in IDS else value
                for column, value in json.loads(row[0]).items()
                if column not in OF_THE_RUN
            }
            for row in await pg.fetch(statement, run.id)
        ]
    return found


def _named(value: object, names: Mapping[int, str]) -> object:
    if isinstance(value, list):
        return [names[id_] for id_ in value]
    return names[value] if isinstance(value, int) else value


def ended(claim: Claim) -> Settlement:
    if short_name(claim) == "odd":
        return stored(claim, "lake", '{"at": 1}')
    return succeeded(claim, f'"{short_name(claim)}"')


async def play(
    store: PostgresStore, pg: asyncpg.Connection, worker: Worker, beside: bool
) -> SmallRun:
    """Run the plan step by step; with ``beside`` each settlement goes with a late one."""
    run = await new_run(store, PLAN, partition=f"{beside}")
    claims = await worker.claims(1)
    while claims:
        (claim,) = claims
        if short_name(claim) == "left":
            assert await store.wake(claim.id, "1")
            await pg.execute(
                "UPDATE flowstone.procrastinate_jobs SET abort_requested = true WHERE id = $1",
                claim.id,
            )
        others = [succeeded(replace(claim, id=LATE))] if beside else []
        turn = await worker.turn(ended(claim), *others, slots=1)
        assert turn.refused == ([LATE] if beside else [])
        claims = list(turn.claims)
    return run


async def test_it_leaves_what_a_batch_leaves(store: PostgresStore, pg: asyncpg.Connection) -> None:
    worker = await new_worker(store)

    alone = await left(pg, await play(store, pg, worker, False))
    beside = await left(pg, await play(store, pg, worker, True))

    assert alone == beside
    assert alone["run"] == [
        {"status": "succeeded", "open": 0, "failed": 0, "cancelled": 0, "ended": True}
    ]
    assert alone["waits"] == []
    assert [len(alone[rows]) for rows in ("values", "current", "lineage")] == [6, 7, 9]


async def test_it_is_refused_under_another_claim(
    store: PostgresStore, pg: asyncpg.Connection
) -> None:
    worker = await new_worker(store)
    run = await new_run(store, PLAN)
    (claim,) = await worker.claims(1)
    before = await left(pg, run)

    assert await worker.settle(succeeded(replace(claim, claim=1))) == [claim.id]
    assert await (await new_worker(store)).settle(succeeded(claim)) == [claim.id]

    assert await left(pg, run) == before
