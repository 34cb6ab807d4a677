"""Every invariant holds where nothing went wrong, and is violated by what it speaks of."""

import asyncio
import random
from pathlib import Path

import asyncpg
import pytest

from flowstone import FlowStone, RunFailedError, RunWaiting
from flowstone.core.handle import RunHandle
from flowstone.core.job_handle import JobHandle
from flowstone.core.worker_options import WorkerOptions
from flowstone.engine.schema import migrate
from tests.chaos import approved, evidence, gated, verdict
from tests.chaos.app import application, fates
from tests.chaos.audit import Audit
from tests.chaos.branched import JOINED, MERGED, STRICT
from tests.chaos.catalogue import INVARIANTS
from tests.chaos.client import Asked, Client
from tests.chaos.jobs import JOBS_QUEUE, SCHEDULE, takes_key
from tests.chaos.journal import Journal
from tests.chaos.limited import NAMES, NARROW_QUEUE, PACED_QUEUE
from tests.chaos.loads.decisions import decide_some
from tests.chaos.loads.runs import begin
from tests.chaos.loads.signals import signal_some
from tests.chaos.scattered import ITEMS_QUEUE, SIZES
from tests.chaos.server import Server
from tests.scenarios.eventually import eventually

# What each statement does to the rows of a good run, by the claim that it makes untrue.
HARM = {
    "every run has ended": "UPDATE flowstone_runs SET status = 'running', finished_at = NULL",
    "every materialization has ended": "UPDATE flowstone_materializations SET status = 'running'",
    "no job is left in todo or doing": "UPDATE procrastinate_jobs SET status = 'doing'",
    "nobody who has ended waits": """
        INSERT INTO flowstone_waits (materialization_id)
        SELECT id FROM flowstone_materializations LIMIT 1
    """,
    "no worker is left that has stopped or died": """
        SELECT flowstone_register_worker_v1('somewhere', 1, '{}', 1000)
    """,
    "a run's counters equal its rows": "UPDATE flowstone_runs SET failed_count = failed_count + 1",
    "a run's end follows from its rows": "UPDATE flowstone_runs SET status = 'cancelled'",
    "who ran had no unmet upstream left, and was not counted down further": """
        UPDATE flowstone_materializations SET unmet = 1
    """,
    "a job ends once, as its materialization did": """
        INSERT INTO procrastinate_events (job_id, type)
        SELECT id, 'succeeded' FROM procrastinate_jobs WHERE status = 'succeeded'
    """,
    "no job is without its materialization": """
        INSERT INTO procrastinate_jobs (queue_name, task_name, args) VALUES ('a', 'b', '{}')
    """,
    "every claim has ended once": "UPDATE procrastinate_jobs SET attempts = attempts + 1",
    "no body was started without a claim": """
        INSERT INTO chaos.starts (token, at, pid, materialization_id, run_id, asset, attempt)
        SELECT token || '-', at, pid, materialization_id, run_id, asset, attempt FROM chaos.starts
    """,
    "no more attempts are counted than there were claims": """
        UPDATE flowstone_materializations SET attempt = 99
    """,
    "who succeeded has one value, and nobody else has any": "DELETE FROM flowstone_values",
    "a value is what the attempt that counts returned": """
        UPDATE chaos.starts SET outcome = NULL
    """,
    "a value is made from the values of its inputs": """
        UPDATE flowstone_materializations SET inputs = '{}'
    """,
    "inputs succeeded, and are of the same partition": """
        UPDATE flowstone_materializations SET inputs = '{1000000}'
    """,
    "lineage is the inputs of what succeeded": "DELETE FROM flowstone_lineage",
    "who was woken was woken by somebody, or his time was up": "DELETE FROM chaos.wakes",
    "a pointer points at what succeeded for its key": """
        UPDATE flowstone_current SET materialization_id = 1000000
    """,
    "whatever succeeded has a pointer for its key": "DELETE FROM flowstone_current",
    "nothing was settled long after what is current": """
        INSERT INTO flowstone_materializations
        SELECT (jsonb_populate_record(m, jsonb_build_object(
            'id', m.id + 1000000, 'run_id', 1000000, 'finished_at', m.finished_at + interval '1 min'
        ))).*
        FROM flowstone_materializations m WHERE m.run_id IS NOT NULL
    """,
    "nobody fails who cannot": """
        UPDATE flowstone_materializations SET status = 'failed' WHERE status = 'succeeded'
    """,
    "nobody succeeds who cannot": """
        UPDATE flowstone_materializations SET status = 'succeeded' WHERE status = 'skipped'
    """,
    "nobody runs whose upstreams did not succeed": """
        UPDATE flowstone_materializations SET claim = 1 WHERE status = 'upstream_failed'
    """,
    "who ends by an upstream has one that ended so": """
        UPDATE flowstone_materializations SET status = 'skipped' WHERE status = 'succeeded'
    """,
    "a run that was acknowledged exists": "INSERT INTO chaos.requests VALUES (1000000, 'test')",
    "a run has rows of its own or reuses others": """
        DELETE FROM flowstone_materializations; DELETE FROM flowstone_reused
    """,
    "a run exists if, and only if, its caller's transaction was committed": """
        INSERT INTO chaos.transactions VALUES ('nobody', 'committed')
    """,
    "requests with the same dedupe are one run": """
        INSERT INTO chaos.folded VALUES ('twice', '{1,2}')
    """,
    "a cancellation that was acknowledged leaves nothing to start": """
        UPDATE flowstone_runs SET cancel_requested_at = created_at - interval '1 min';
        INSERT INTO chaos.cancelled SELECT id FROM flowstone_runs
    """,
    "no more of a queue run at once than its limit says": f"""
        INSERT INTO procrastinate_events (job_id, type)
        SELECT id, 'started' FROM procrastinate_jobs WHERE queue_name = '{NARROW_QUEUE}'
    """,
    "no more of a queue start within a second than its rate says": f"""
        UPDATE flowstone_materializations SET started_at = now() WHERE queue = '{PACED_QUEUE}'
    """,
    "no more slots of a limit are rows than it has": """
        INSERT INTO flowstone_limit_slots (limit_name, materialization_id, claim)
        SELECT 'api', id, 0 FROM flowstone_materializations
    """,
    "no tick of a schedule is lost or doubled": """
        UPDATE flowstone_materializations SET tick_at = tick_at + interval '2 s'
        WHERE tick_at = (SELECT min(tick_at) FROM flowstone_materializations)
    """,
    "the schedule that the code has is a row": "DELETE FROM flowstone_schedules",
    "a job that was acknowledged exists, with its argument": """
        UPDATE flowstone_materializations SET arguments = '{"note": "another"}'
    """,
    "a job exists if, and only if, its caller's transaction was committed": """
        UPDATE chaos.job_transactions SET ended = 'rolled back'
    """,
    "no request is two jobs": """
        INSERT INTO flowstone_materializations
        SELECT (jsonb_populate_record(m, jsonb_build_object('id', m.id + 1000000))).*
        FROM flowstone_materializations m WHERE run_id IS NULL
    """,
    "a job ends as it behaves, or because somebody cancelled it": """
        UPDATE flowstone_materializations SET status = 'cancelled' WHERE run_id IS NULL
    """,
    "a result is of the job's own argument": """
        UPDATE flowstone_values SET value = '{"payload": "another"}'
    """,
    "who waited for a job was told how it ended": "UPDATE chaos.heard SET what = 'cancelled'",
    "a job that was cancelled is not started again": """
        INSERT INTO procrastinate_events (job_id, type, at)
        SELECT job_id, 'abort_requested', now() - interval '1 min' FROM chaos.jobs;
        INSERT INTO chaos.cancelled_jobs SELECT job_id, true FROM chaos.jobs
    """,
    "no job begins before its time": "UPDATE chaos.jobs SET delay = 60",
    "each error that is kept is of an attempt that failed, in order": """
        UPDATE flowstone_errors SET attempt = 99
    """,
    "who failed, other than with its worker, has an error kept": "DELETE FROM flowstone_errors",
    "a unique key is held by a job that it covers, or by nobody": """
        INSERT INTO flowstone_unique_keys SELECT unique_key, id FROM flowstone_materializations
        WHERE asset = 'jobs.single'
    """,
    "no two jobs that are covered have the same key": """
        UPDATE flowstone_materializations SET unique_key = 'x', unique_states = 31
        WHERE run_id IS NULL
    """,
    "of jobs that run one at a time one has ended when another begins": """
        UPDATE flowstone_materializations
        SET unique_key = 'x', started_at = finished_at - interval '1 min' WHERE run_id IS NULL
    """,
    "of the jobs of a lane one has ended when another begins": """
        UPDATE flowstone_materializations
        SET asset = 'jobs.laned', arguments = '{"key": "a"}',
            started_at = finished_at - interval '1 min'
        WHERE run_id IS NULL
    """,
    "a job that is asked for again with the same dedupe is one job": """
        UPDATE chaos.same_jobs SET job_ids = '{1,2}'
    """,
    "a scatter's counters equal its items": "UPDATE scatter_items SET status = 2",
    "a scatter ends as its items did, and its asset as the scatter": """
        UPDATE scatter_barriers SET status = 'failed'
    """,
    "an item's result is what an attempt at it returned, once": """
        UPDATE chaos.items SET item = item + 1
    """,
    "what was gathered is what the items gave": """
        UPDATE scatter_barriers SET completed = completed - 1
    """,
    "a scatter that has ended hands nothing out, and nobody works for it": """
        INSERT INTO scatter_pumps SELECT materialization_id, 1, 1, 1, false FROM scatter_barriers
    """,
    "no more items of a scatter run at once than it permits": """
        UPDATE chaos.items SET at = 1, ended = 2
    """,
    "no more items of a scatter have started than its rate has let through": """
        UPDATE scatter_barriers SET next_start_at = created_at
    """,
    "every gate has ended": "UPDATE signal_gate_gates SET status = 'waiting', ended_at = NULL",
    "a gate was signaled with what somebody sent": "DELETE FROM chaos.signals",
    "who was told that his signal counts is the one whose signal does": """
        UPDATE signal_gate_gates SET payload = '"another"'
    """,
    "who waited goes on with the signal, or because his time was up": """
        UPDATE signal_gate_gates SET status = 'timeout' WHERE status = 'signaled'
    """,
    "a gate takes the signal that came before it": """
        INSERT INTO signal_gate_early
        SELECT token_hash, token, now(), '1' FROM signal_gate_gates WHERE is_current
    """,
    "every approval is closed": """
        UPDATE checkpoints_approvals SET decided_at = NULL, status = 'pending'
    """,
    "a decision is what somebody said, or what the deadline says": """
        UPDATE checkpoints_approvals SET decided_by = 'another'
    """,
    "who was told that he has decided is the one who has": """
        UPDATE checkpoints_approvals SET decided_by = 'another'
    """,
    "an asset ends as was decided about it, with the value that was approved": """
        UPDATE checkpoints_approvals SET status = 'rejected' WHERE status = 'approved'
    """,
    "what was to be told about an approval was told within a minute": """
        INSERT INTO checkpoints_notices (materialization_id, event, due_at)
        VALUES (1, 'requested', now() - interval '2 min')
    """,
    "what a router selected is recorded once, and is its value": "DELETE FROM routing_decisions",
    "the branch that was selected runs, and no other": """
        UPDATE chaos.starts SET materialization_id = (
            SELECT id FROM flowstone_materializations
            WHERE status = 'skipped' AND asset LIKE 'branched.by%'
        )
    """,
    "who has joined branches knows how each has ended": """
        UPDATE parallel_executions SET ended = NULL
    """,
    "a branch has ended as its asset did, unless nobody waited for it": """
        UPDATE parallel_branches SET status = 'skipped' WHERE status = 'success'
    """,
    "a join was told of its branches what is known of them": """
        UPDATE parallel_branches SET status = 'skipped' WHERE status = 'success'
    """,
    "what a job wrote is there once if that attempt counts, and not otherwise": """
        INSERT INTO chaos.written SELECT * FROM chaos.written
    """,
}


WAITING = [*SIZES, *gated.ENDS, *approved.ENDS, JOINED, STRICT, MERGED]
TICKED_TWICE = """
SELECT count(*) >= 2 FROM flowstone_materializations WHERE schedule = $1 AND tick_at IS NOT NULL
"""
ALL_ENDED = "SELECT count(*) = 0 FROM flowstone_materializations WHERE finished_at IS NULL"


@pytest.mark.timeout(300)
async def test_what_holds_of_a_good_run_is_violated_by_its_opposite(
    dsn: str, pg: asyncpg.Connection, tmp_path: Path
) -> None:
    await pg.execute(evidence.TABLES)
    await pg.execute("SET search_path TO flowstone")
    audit, asked, journal = Audit(tmp_path), Asked(), Journal(tmp_path / "journal.jsonl")
    app = application(3, audit, dsn)
    migrate(dsn, tables=app.tables)
    async with app:
        names = [name for name in app.definitions.assets if name.startswith("dag.")]
        handle = await app.enqueue_many(names, partition="a", dedupe="all")
        asked.runs[handle.run_id] = "test"
        asked.folded["all"] = {handle.run_id}
        await finish(app, handle, pg, asked)
        client = Client([app], Server(tmp_path, {}), journal, asked, random.Random(3))
        await finish_jobs(client, pg)
        ends = fates(app)
    await evidence.bring(pg, tmp_path, asked, ends)

    assert await verdict.violations(pg, INVARIANTS, journal) == []
    by_claim = {it.claim: it for it in INVARIANTS}
    assert set(by_claim) == set(HARM)
    unseen = []
    for claim, harm in HARM.items():
        transaction = pg.transaction()
        await transaction.start()
        await pg.execute(harm)
        if not await verdict.violations(pg, [by_claim[claim]], journal):
            unseen.append(claim)
        await transaction.rollback()
    assert unseen == []


async def finish_jobs(client: Client, pg: asyncpg.Connection) -> None:
    """Enqueue one job of each kind, and each asset that waits, and work until all have ended."""
    app, asked = client.app, client.asked
    for name in WAITING:
        await begin(client, "test", name)
    jobs = {name: it for name, it in app.definitions.jobs.items() if name.startswith("jobs.")}
    names = list(jobs)
    calls = [
        job.with_(note=name, key="a") if takes_key(name) else job.with_(note=name)
        for name, job in jobs.items()
    ]
    handles: list[JobHandle[object]] = await app.enqueue_many(calls, delay="1ms")
    for handle, name in zip(handles, names, strict=True):
        asked.jobs[handle.job_id] = (name, "test", 0.001)
    async with pg.transaction():
        committed = await app.enqueue(app.definitions.jobs["jobs.plain"].with_(note="x"), conn=pg)
        await pg.execute("INSERT INTO chaos.job_intents VALUES ('x', $1)", committed.job_id)
    asked.job_transactions["x"] = "committed"
    once = await app.enqueue(app.definitions.jobs["jobs.plain"].with_(note="y"), dedupe="once")
    asked.same_jobs["y"] = {once.job_id}
    limited = await app.enqueue_many(
        [app.definitions.jobs[name].with_(note=f"{name} {n}") for n in range(10) for name in NAMES]
    )
    queues = {JOBS_QUEUE: 20, NARROW_QUEUE: 20, PACED_QUEUE: 20, ITEMS_QUEUE: 5, "default": 20}
    worker = app.worker(WorkerOptions(queues=queues))
    working = asyncio.create_task(worker.run())
    for handle in [*handles, committed, once, *limited]:
        record = await handle.wait(60)
        if record.status == "failed":
            asked.heard[handle.job_id] = "failed"
    await eventually(lambda: pg.fetchval(TICKED_TWICE, SCHEDULE))
    await app.schedules.pause(SCHEDULE)

    async def all_ended() -> object:
        await signal_some(client, 1.0)
        await decide_some(client, 1.0)
        return await pg.fetchval(ALL_ENDED)

    await eventually(all_ended, every=0.1)
    worker.stop()
    await working


async def finish(
    app: FlowStone, handle: RunHandle[object], pg: asyncpg.Connection, asked: Asked
) -> None:
    """Work on the run here, and wake whoever waits, until it has ended."""
    while not (await handle.status()).status.is_terminal:
        try:
            await app.finish(handle)
        except RunWaiting:
            for row in await pg.fetch("SELECT materialization_id AS id FROM flowstone.waiting"):
                asked.wakes.append((row["id"], "hello"))
                await app.store.wake(row["id"], '"hello"')
        except RunFailedError:
            return
