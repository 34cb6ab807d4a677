"""Jobs of queues with limits: how many run at once, and how many start within a second."""

from flowstone import JobContext, Pipeline, Queue
from tests.chaos.audit import Audit
from tests.chaos.behavior import RETRY, Body, Returned

NARROW_QUEUE, MOST = "narrow", 3
PACED_QUEUE, RATE = "paced", 8
QUEUES = {NARROW_QUEUE: Queue(max_running=MOST), PACED_QUEUE: Queue(rate=f"{RATE}/s")}
NAMES = [f"limited.{NARROW_QUEUE}", f"limited.{PACED_QUEUE}"]


def limited_jobs(audit: Audit) -> Pipeline:
    """Return the pipeline ``limited``, with a job for each of the queues, of the queue's name."""
    pipeline = Pipeline("limited")
    narrow_body, paced_body = Body("flaky", audit, 0.05), Body("plain", audit, 0.01)

    @pipeline.job(queue=NARROW_QUEUE, retry=RETRY)
    async def narrow(ctx: JobContext, note: str) -> Returned:
        return await narrow_body.job(ctx, note)

    @pipeline.job(queue=PACED_QUEUE, retry=RETRY)
    async def paced(ctx: JobContext, note: str) -> Returned:
        return await paced_body.job(ctx, note)

    return pipeline
