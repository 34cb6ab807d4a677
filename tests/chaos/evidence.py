"""
What bodies and clients know, as tables beside the engine's: invariants compare the two.

The tables are in the schema ``chaos``. ``intents`` and ``job_intents`` are written by clients in
their own transactions, ``written`` by jobs in theirs, the others when all is over.
"""

from collections.abc import Mapping
from pathlib import Path

import asyncpg

from tests.chaos import audit
from tests.chaos.client import Asked

TABLES = """
CREATE SCHEMA chaos;
CREATE TABLE chaos.intents (request text PRIMARY KEY, run_id bigint NOT NULL);
CREATE TABLE chaos.starts (
    token text PRIMARY KEY,
    at double precision NOT NULL,
    pid integer NOT NULL,
    materialization_id bigint NOT NULL,
    run_id bigint,
    asset text NOT NULL,
    attempt integer NOT NULL,
    outcome text
);
COMMENT ON COLUMN chaos.starts.outcome IS 'Null: the body did not come to its end.';
CREATE INDEX ON chaos.starts (materialization_id);
CREATE TABLE chaos.fates (asset text PRIMARY KEY, ends text NOT NULL);
CREATE TABLE chaos.requests (run_id bigint PRIMARY KEY, load text NOT NULL);
CREATE TABLE chaos.folded (request text PRIMARY KEY, run_ids bigint[] NOT NULL);
CREATE TABLE chaos.transactions (request text PRIMARY KEY, ended text NOT NULL);
CREATE TABLE chaos.cancelled (run_id bigint PRIMARY KEY);
CREATE TABLE chaos.wakes (materialization_id bigint NOT NULL, payload text NOT NULL);
CREATE TABLE chaos.jobs (
    job_id bigint PRIMARY KEY,
    note text NOT NULL,
    load text NOT NULL,
    delay double precision NOT NULL
);
CREATE TABLE chaos.job_intents (note text PRIMARY KEY, job_id bigint NOT NULL);
CREATE TABLE chaos.job_transactions (note text PRIMARY KEY, ended text NOT NULL);
CREATE TABLE chaos.cancelled_jobs (job_id bigint PRIMARY KEY, is_acknowledged boolean NOT NULL);
CREATE TABLE chaos.same_jobs (note text PRIMARY KEY, job_ids bigint[] NOT NULL);
CREATE TABLE chaos.heard (job_id bigint PRIMARY KEY, what text NOT NULL);
CREATE TABLE chaos.items (
    token text PRIMARY KEY,
    at double precision NOT NULL,
    ended double precision,
    pid integer NOT NULL,
    materialization_id bigint NOT NULL,
    item integer NOT NULL,
    outcome text
);
COMMENT ON TABLE chaos.items IS 'Attempts at items of scatters, by one clock for all processes.';
CREATE INDEX ON chaos.items (materialization_id);
CREATE TABLE chaos.signals (payload text PRIMARY KEY, token text NOT NULL, answer text NOT NULL);
CREATE TABLE chaos.decisions (
    by text PRIMARY KEY,
    approval_id bigint NOT NULL,
    status text NOT NULL,
    answer text NOT NULL
);
CREATE TABLE chaos.written (job_id bigint NOT NULL, token text NOT NULL);
COMMENT ON TABLE chaos.written IS 'By jobs, in the transactions that they settle in.';
"""


async def bring(
    pg: asyncpg.Connection, folder: Path, asked: Asked, fates: Mapping[str, str]
) -> audit.Story:
    """Fill the tables, and return what the bodies' files say."""
    story = audit.read(folder)
    starts = [
        (
            it["token"],
            it["at"],
            it["pid"],
            it["materialization"],
            it["run"],
            it["asset"],
            it["attempt"],
            story.outcomes.get(str(it["token"])),
        )
        for it in story.starts
    ]
    items = [
        (
            it["token"],
            it["at"],
            story.ended.get(str(it["token"])),
            it["pid"],
            it["materialization"],
            it["item"],
            story.outcomes.get(str(it["token"])),
        )
        for it in story.items
    ]
    records: dict[str, list[tuple[object, ...]]] = {
        "starts": starts,
        "items": items,
        "signals": [(payload, *facts) for payload, facts in asked.signals.items()],
        "decisions": [(by, *facts) for by, facts in asked.decisions.items()],
        "fates": list(fates.items()),
        "requests": list(asked.runs.items()),
        "folded": [(text, sorted(ids)) for text, ids in asked.folded.items()],
        "transactions": list(asked.transactions.items()),
        "cancelled": [(run_id,) for run_id in asked.cancelled],
        "wakes": list(asked.wakes),
        "jobs": [(id_, *facts) for id_, facts in asked.jobs.items()],
        "job_transactions": list(asked.job_transactions.items()),
        "cancelled_jobs": list(asked.cancelled_jobs.items()),
        "same_jobs": [(note, sorted(ids)) for note, ids in asked.same_jobs.items()],
        "heard": list(asked.heard.items()),
    }
    for table, rows in records.items():
        await pg.copy_records_to_table(table, schema_name="chaos", records=rows)
    await pg.execute("ANALYZE")
    return story
