"""What an application does with jobs below the assets; `FlowStone` says what is common to both."""

from collections.abc import Mapping, Sequence
from typing import TypeVar, Unpack, cast

from flowstone.core.assembly import Assembly
from flowstone.core.errors import InvalidOptionError
from flowstone.core.job import Job, JobCall
from flowstone.core.job_handle import JobHandle
from flowstone.core.job_submission import JobOptions
from flowstone.core.options import refuse_unknown
from flowstone.core.submission import EnqueueArguments

T = TypeVar("T")


class AnyArguments(EnqueueArguments, JobOptions, total=False):
    """What ``app.enqueue`` takes, whatever the target."""


class ApplicationJobs(Assembly):
    """The jobs of an application."""

    def job(self, job_id: int) -> JobHandle[object]:
        """Return the handle of a job that is known by its id; nothing is looked up yet."""
        return JobHandle(self.store, self.codec, job_id, object)

    async def _enqueue_jobs(
        self, calls: Sequence[JobCall[T]], **given: Unpack[JobOptions]
    ) -> list[JobHandle[T]]:
        enqueued = await self._jobs.enqueue(calls, **given)
        return [
            JobHandle(
                self.store,
                self.codec,
                it.job_id,
                call.job.body.value_type,
                created=it.created,
                replaced=it.replaced,
            )
            for it, call in zip(enqueued, calls, strict=True)
        ]


def are_calls(targets: object) -> bool:
    """
    Return whether these are jobs to call, and not assets.

    Raises:
        InvalidOptionError: There are both among them, or a job without arguments.
    """
    if not isinstance(targets, Sequence) or isinstance(targets, str):
        return False
    for it in targets:
        if isinstance(it, Job):
            takes = ", ".join(f"{own.parameter}=…" for own in it.body.signature.own_arguments)
            raise InvalidOptionError(f"{it.name} wants to be called: {it.name}.with_({takes})")
    calls = [isinstance(it, JobCall) for it in targets]
    if any(calls) and not all(calls):
        raise InvalidOptionError(
            "jobs and assets are enqueued apart: assets make a run, jobs do not"
        )
    return any(calls)


def of_job(given: Mapping[str, object]) -> JobOptions:
    """Return the arguments of a job's enqueueing, or refuse what only a run has."""
    known = JobOptions.__annotations__.keys()
    refuse_unknown(given.keys() - EnqueueArguments.__annotations__.keys() - known, known)
    alien = sorted(given.keys() - known)
    if alien:
        raise InvalidOptionError(
            f"{', '.join(alien)}: an option of assets, which a job does not take"
        )
    return cast("JobOptions", given)
