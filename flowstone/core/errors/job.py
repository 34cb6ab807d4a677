"""Errors of jobs below the assets, told to who enqueues one or waits for it."""

from collections.abc import Iterable, Mapping
from datetime import timedelta

from flowstone.core.errors.definition import DefinitionError
from flowstone.core.errors.root import FlowStoneError, unknown
from flowstone.core.suggestion import suggest


class JobArgumentsError(DefinitionError):
    """
    Arguments are not what the job takes.

    Attributes:
        job: The job's full name.
    """

    code = "invalid_arguments"

    def __init__(self, job: str, why: str) -> None:
        self.job = job
        super().__init__(f"job '{job}': {why}", context={"job": job})


class UnknownJobError(DefinitionError):
    """
    There is no such job.

    Attributes:
        name: What was asked for.
        available: The names that there are.
        suggestion: The one that was probably meant, or None.
    """

    code = "job_unknown"

    def __init__(self, name: str, available: Iterable[str] = ()) -> None:
        self.name = name
        self.available = tuple(sorted(available))
        self.suggestion = suggest(name, self.available)
        super().__init__(
            unknown(f"job '{name}' does not exist", self.available, self.suggestion),
            context={"name": name, "suggestion": self.suggestion},
        )


class JobError(FlowStoneError):
    """
    A job did not bring what was asked for.

    Attributes:
        job_id: The job.
    """

    code = "job_error"

    def __init__(
        self,
        job_id: int,
        message: str | None = None,
        *,
        context: Mapping[str, object] | None = None,
    ) -> None:
        self.job_id = job_id
        super().__init__(message, context={"job_id": job_id, **(context or {})})


class JobFailedError(JobError):
    """
    The job failed, and will not be tried again.

    Attributes:
        error: What its last attempt failed with, as it is stored; see `core.error_record`.
    """

    code = "job_failed"

    def __init__(self, job_id: int, job: str, error: Mapping[str, object]) -> None:
        self.error = error
        super().__init__(job_id, f"job {job_id} ({job}) failed: {error.get('message', 'failed')}")


class JobCancelledError(JobError):
    """The job was cancelled."""

    code = "job_cancelled"

    def __init__(self, job_id: int, job: str) -> None:
        super().__init__(job_id, f"job {job_id} ({job}) was cancelled")


class JobNotFoundError(JobError):
    """There is no such job; it may have been pruned."""

    code = "job_not_found"

    def __init__(self, job_id: int) -> None:
        super().__init__(job_id, f"job {job_id} does not exist; it may have been pruned")


class JobExistsError(JobError):
    """
    A job that is the same is there already, and nothing was enqueued.

    Attributes:
        job_id: The one that is there.
        job: The full name of both.
    """

    code = "job_exists"

    def __init__(self, job_id: int, job: str) -> None:
        self.job = job
        super().__init__(
            job_id,
            f"job '{job}' is unique, and job {job_id} holds its key; nothing was enqueued",
            context={"job": job},
        )


class JobNotEndedError(JobError):
    """
    The job did not end in the time that its waiter had; it goes on.

    Attributes:
        timeout: How long the waiter had.
    """

    code = "job_not_ended"

    def __init__(self, job_id: int, timeout: timedelta) -> None:
        self.timeout = timeout
        seconds = timeout.total_seconds()
        super().__init__(
            job_id,
            f"job {job_id} has not ended after {seconds:g}s; it goes on",
            context={"timeout_seconds": seconds},
        )
