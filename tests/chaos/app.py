"""
The application of every process here: ``flowstone worker --app tests.chaos.app:app``.

The environment says the seed (``CHAOS_SEED``), the folder and the database.
"""

import asyncio
import os

from flowstone import Context, FlowStone, Pipeline
from flowstone.core.telemetry import Telemetry
from tests.chaos import approved, branched, gated, scattered
from tests.chaos.audit import Audit, Made
from tests.chaos.behavior import Body
from tests.chaos.children import children
from tests.chaos.dag import end_of, random_dag
from tests.chaos.jobs import all_jobs, end_of_job
from tests.chaos.limited import LIMITS, QUEUES, limited_jobs

SEED = "CHAOS_SEED"
TICK_SECONDS = 0.25
PROBE_QUEUE = "probe"
EVENTS = ["rescue", "settlement.rejected", "worker.start"]


def pipelines(seed: int, audit: Audit) -> list[Pipeline]:
    """Return what the seed stands for."""
    return [
        random_dag(seed, audit),
        probe(audit),
        children,
        all_jobs(audit),
        limited_jobs(audit),
        scattered.scatters(audit),
        gated.gates(audit),
        approved.approvals(audit),
        branched.branches(audit),
    ]


def probe(audit: Audit) -> Pipeline:
    """Return the pipeline whose completions per second are the throughput: slots over time."""
    pipeline = Pipeline("probe")
    body = Body("plain", audit, 0.0)

    @pipeline.asset(queue=PROBE_QUEUE)
    async def tick(ctx: Context) -> Made:
        made = body.begin(ctx, [])
        await asyncio.sleep(TICK_SECONDS)
        body.end(made, "value")
        return made

    return pipeline


def fates(app: FlowStone) -> dict[str, str]:
    """
    Return by asset how it ends when its upstreams let it run, and by job.

    What ends as others like, or as chance has it, is left out.
    """
    assets: dict[str, str | None] = {
        name: end_of(name) if name.startswith("dag.") else "succeeded"
        for name in app.definitions.assets
    }
    for ends in (scattered.ENDS, gated.ENDS, approved.ENDS, branched.ENDS):
        assets.update(ends)
    jobs = {name: end_of_job(name) for name in app.definitions.jobs}
    return {name: end for name, end in assets.items() if end is not None} | jobs


def application(seed: int, audit: Audit, dsn: str | None) -> FlowStone:
    telemetry = Telemetry()
    telemetry.attach(audit.telemetry, EVENTS)
    return FlowStone(
        pipelines(seed, audit), dsn=dsn, telemetry=telemetry, queues=QUEUES, limits=LIMITS
    )


if SEED in os.environ:
    app = application(
        int(os.environ[SEED]), Audit.of_this_process(), os.environ.get("FLOWSTONE_DSN")
    )
