"""
A job: a function that is enqueued with arguments, for what it does and not for data that is kept.

::

    @shop.job(queue="mail", retry=5)
    async def send_mail(to: str, subject: str = "Hello") -> None: ...

    job = await app.enqueue(send_mail.with_(to="ann@example.org"), conn=connection)

A job goes the way of an asset's materialization, through the same states, claims and fences, but
belongs to no run, depends on nothing, and what it returns is nobody's current value.

Source: docs/adr/0017.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, ParamSpec, TypeAlias, TypeVar

from flowstone.core.asset import Asset, Location
from flowstone.core.job_arguments import JobArguments, arguments_of
from flowstone.core.options import Options
from flowstone.core.retry import Retry

A = ParamSpec("A")
P = ParamSpec("P")
T_co = TypeVar("T_co", covariant=True)
R_co = TypeVar("R_co", covariant=True)

JOB_RETRY = Retry(20, base="15s", factor=2, cap="1d")
"""
What a job without ``retry=`` has: twenty attempts, whatever its function raised, after 15 s, 30 s,
1 min … and then daily: a week in all, so that a weekend's outage is survived.
"""


class Job(Generic[A, P, T_co, R_co]):
    """
    A function and what was said about it as a job; ``@pipeline.job`` makes it.

    Called directly, it is the function: nothing is enqueued. ``A`` is what `with_` takes, ``P`` how
    the function is called, ``T_co`` its result, ``R_co`` what a direct call returns.

    Attributes:
        body: Its function as the engine runs it.
    """

    def __init__(self, body: Asset[P, T_co, R_co]) -> None:
        self.body = body
        self.__doc__ = body.options.description
        self.__name__ = body.name
        self.__wrapped__ = body.function
        self.__module__ = getattr(body.function, "__module__", "")

    def __repr__(self) -> str:
        return f"<job {self.full_name}>"

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """
        Call the function.

        Raises:
            DefinitionError: An argument that a marker stands for was not given.
        """
        return self.body(*args, **kwargs)

    @property
    def name(self) -> str:
        """Its name in the pipeline."""
        return self.body.name

    @property
    def full_name(self) -> str:
        """The pipeline's name and its own, with a dot between; what rows call it."""
        return self.body.full_name

    @property
    def options(self) -> Options:
        """What was said about it, checked."""
        return self.body.options

    @property
    def source(self) -> Location:
        """Where it is defined."""
        return self.body.source

    @property
    def arguments(self) -> JobArguments:
        """What it takes."""
        return arguments_of(self.body)

    def with_(self, *args: A.args, **kwargs: A.kwargs) -> "JobCall[T_co]":
        """
        Return the job with arguments, for ``app.enqueue``.

        Raises:
            JobArgumentsError: One is missing, unknown, or given twice. Whether they are of the
                right types is seen when they are enqueued.
        """
        return JobCall(self, self.arguments.bind(args, kwargs))


AnyJob: TypeAlias = Job[..., ..., object, object]


@dataclass(frozen=True, slots=True, eq=False)
class JobCall(Generic[T_co]):
    """A job with the arguments that it is to be called with; nothing is enqueued yet."""

    job: "Job[..., ..., T_co, object]"
    arguments: Mapping[str, object]

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in self.arguments.items())
        return f"{self.job.full_name}.with_({given})"
