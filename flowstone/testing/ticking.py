"""The schedules of an application, looked at once."""

from flowstone.core.application import FlowStone
from flowstone.core.scheduling import enqueue_due, synchronize
from flowstone.testing.enqueued_jobs import EnqueuedJob, enqueued


async def tick(app: FlowStone) -> list[EnqueuedJob]:
    """
    Enqueue what schedules have due, as the elected one of all workers does, and return the jobs.

    A schedule in code begins when this is called first: its next tick is after that instant. So
    call it, let time pass with `flowstone.testing.advance`, and call it again.
    """
    rows = app._schedule_rows
    await synchronize(app.store, rows, [*app.definitions.pipelines], app.definitions.schedules)
    known = {job.job_id for job in await enqueued(app)}
    while not await enqueue_due(app, rows):
        pass  # a batch was enqueued; there may be another
    return [job for job in await enqueued(app) if job.job_id not in known]
