"""Jobs below the assets; the name of one says how it behaves, and its argument who asked for it."""

from typing import Literal

from flowstone import JobContext, Pipeline, Retry, Unique
from tests.chaos.audit import Audit
from tests.chaos.behavior import BEHAVIORS, RETRY, Behavior, Body, MishapError, Returned

JOBS_QUEUE = "jobs"
TICK_SECONDS = 2
SCHEDULE = "jobs.tick"
SOON = Retry(2, base="0.2s")
"""Of what fails for good: a job's own default would try for a week."""

JOBS = {
    **{name: BEHAVIORS[name] for name in ("plain", "threaded", "snoozing", "skipping")},
    **{name: BEHAVIORS[name] for name in ("flaky", "tardy", "giving_up", "failing")},
    "heavy": Behavior(),
    "unstorable": Behavior("failed", retry=SOON),
    "discarding": Behavior("failed", retry=Retry(8, base="0.2s", discard=(MishapError,))),
    "writing": Behavior(weight=3, retry=RETRY),
}

UNIQUE: dict[str, tuple[Literal["waiting", "running"], ...]] = {
    "single": ("waiting", "running"),
    "lone": ("waiting",),
}
"""Unique by a key: one at a time, or one that waits, which may meet a twin when tried again."""

KEYED = [*UNIQUE, "laned"]

WRITE = "INSERT INTO chaos.written (job_id, token) VALUES ($1, $2)"


def all_jobs(audit: Audit) -> Pipeline:
    """Return the pipeline ``jobs``."""
    pipeline = Pipeline("jobs")
    for number, (name, behavior) in enumerate(JOBS.items()):
        _add(pipeline, name, behavior, Body(name, audit, 0.005 + number / 200))
    for name, states in UNIQUE.items():
        _add_unique(pipeline, name, Body("flaky", audit, 0.05), Unique(by=["key"], states=states))
    laned_body = Body("flaky", audit, 0.03)

    @pipeline.job(queue=JOBS_QUEUE, retry=RETRY, lane="key")
    async def laned(ctx: JobContext, note: str, key: str) -> Returned:
        return await laned_body.job(ctx, note)

    ticking = Body("plain", audit, 0.005)

    @pipeline.job(queue=JOBS_QUEUE, retry=RETRY)
    async def ticked(ctx: JobContext, note: str) -> Returned:
        return await ticking.job(ctx, note)

    cron = f"*/{TICK_SECONDS} * * * * *"
    pipeline.schedule("tick", cron, ticked.with_(note="tick"), missed="all")
    return pipeline


def end_of_job(full_name: str) -> str:
    """Return how a job ends when nobody cancels it."""
    return JOBS.get(full_name.partition(".")[2], Behavior()).ends


def takes_key(full_name: str) -> bool:
    """Whether a job takes a key beside its note."""
    return full_name.partition(".")[2] in KEYED


def _add(pipeline: Pipeline, name: str, behavior: Behavior, body: Body) -> None:
    decorate = pipeline.job(
        name=name, queue=JOBS_QUEUE, retry=behavior.retry or RETRY, timeout=behavior.timeout
    )
    if behavior.in_thread:

        @decorate
        def run_in_thread(ctx: JobContext, note: str) -> Returned:
            return body.job_in_thread(ctx, note)

    elif name == "writing":

        @decorate
        async def write(ctx: JobContext, note: str) -> Returned:
            made = body.begin_job(ctx, note)
            async with ctx.transaction() as conn:
                await conn.execute(WRITE, ctx.job_id, made.token)
            body.end(made, "value")
            return made

    else:

        @decorate
        async def run(ctx: JobContext, note: str) -> Returned:
            return await body.job(ctx, note)


def _add_unique(pipeline: Pipeline, name: str, body: Body, unique: Unique) -> None:
    @pipeline.job(name=name, queue=JOBS_QUEUE, retry=RETRY, unique=unique)
    async def run(ctx: JobContext, note: str, key: str) -> Returned:
        return await body.job(ctx, note)
