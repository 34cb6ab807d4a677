"""Jobs with limits: how many of a queue run at once, or start, and how many are in one place."""

from flowstone import JobContext, Limit, Pipeline, Queue
from tests.chaos.audit import Audit
from tests.chaos.behavior import RETRY, Body, Returned
from tests.chaos.jobs import JOBS_QUEUE

NARROW_QUEUE, MOST = "narrow", 3
PACED_QUEUE, RATE = "paced", 8
QUEUES = {NARROW_QUEUE: Queue(max_running=MOST), PACED_QUEUE: Queue(rate=f"{RATE}/s")}
API = "api"
LIMITS = {API: Limit(slots=2)}
NAMES = ["limited.visiting", f"limited.{NARROW_QUEUE}", f"limited.{PACED_QUEUE}"]


def limited_jobs(audit: Audit) -> Pipeline:
    """Return the pipeline ``limited``, with a job for each limit."""
    pipeline = Pipeline("limited")
    narrow_body, paced_body = Body("flaky", audit, 0.05), Body("plain", audit, 0.01)

    @pipeline.job(queue=NARROW_QUEUE, retry=RETRY)
    async def narrow(ctx: JobContext, note: str) -> Returned:
        return await narrow_body.job(ctx, note)

    @pipeline.job(queue=PACED_QUEUE, retry=RETRY)
    async def paced(ctx: JobContext, note: str) -> Returned:
        return await paced_body.job(ctx, note)

    visit = Body("flaky", audit, 0.02)

    @pipeline.job(queue=JOBS_QUEUE, retry=RETRY)
    async def visiting(ctx: JobContext, note: str) -> Returned:
        async with ctx.limit(API, max_wait="20s"):
            return await visit.job(ctx, note)

    return pipeline
