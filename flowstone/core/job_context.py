"""
What a job's function may know about the attempt that it belongs to.

A first parameter annotated ``JobContext`` gets it::

    @shop.job
    async def send_mail(ctx: JobContext, to: str) -> None:
        ctx.log.info("attempt %s of job %s", ctx.attempt, ctx.job_id)
"""

from collections.abc import Mapping
from dataclasses import dataclass

from flowstone.core.attempt_context import AttemptContext


@dataclass(frozen=True, slots=True, kw_only=True)
class JobContext(AttemptContext):
    """
    One attempt at one job.

    Attributes:
        job: The job's full name.
        job_id: What rows and commands call it.
        queue: Where it was enqueued.
    """

    job: str
    job_id: int
    queue: str = ""

    def _facts(self) -> Mapping[str, object]:
        return {"job": self.job, "job_id": self.job_id, "attempt": self.attempt}
