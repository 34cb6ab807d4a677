"""Assets in child processes: these are found by name, so they are at the top of a module."""

import functools

from flowstone import Context, JobContext, Pipeline
from tests.chaos.audit import Audit, Made
from tests.chaos.behavior import RETRY, Body

CHILDREN_QUEUE = "children"

children = Pipeline("children")


@functools.cache
def _body() -> Body:
    return Body("threaded", Audit.of_this_process(), 0.2)


@children.asset(executor="process", queue=CHILDREN_QUEUE, retry=RETRY)
def apart(ctx: Context) -> Made:
    """Who dies in a child is tried again; its worker goes on."""
    made = _body().run_in_thread(ctx, [])
    assert isinstance(made, Made)
    return made


@children.job(executor="process", queue=CHILDREN_QUEUE, retry=RETRY)
def errand(ctx: JobContext, note: str) -> Made:
    """Do the same for a job."""
    made = _body().job_in_thread(ctx, note)
    assert isinstance(made, Made)
    return made
