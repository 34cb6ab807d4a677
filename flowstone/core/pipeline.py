"""
A named collection of assets and jobs.

::

    sales = Pipeline("sales", io="lake")

    @sales.asset
    async def numbers() -> list[int]:
        return [1, 2, 3]

    @sales.job(queue="mail")
    async def send_mail(to: str) -> None: ...

A pipeline is a value: nothing is registered anywhere until it is given to ``FlowStone([sales])``.
"""

import os
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from datetime import timedelta
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar, overload

from flowstone.core.annotations import innermost
from flowstone.core.asset import Asset, AssetRef, Definition, Location
from flowstone.core.decorators import AssetDecorator, JobDecorator
from flowstone.core.draft import Draft, surroundings
from flowstone.core.errors import DefinitionError, Problem
from flowstone.core.io_choice import IOLike
from flowstone.core.job import JOB_RETRY, AnyJob, Job, JobCall
from flowstone.core.job_context import JobContext
from flowstone.core.missed import Missed
from flowstone.core.options import OptionReader, Options, name_objection
from flowstone.core.results import Cancel, Skip, Snooze
from flowstone.core.retry import Retry
from flowstone.core.schedule import Schedule, schedule_of
from flowstone.core.signature import full_name
from flowstone.core.unique import Unique

A = ParamSpec("A")
P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R")


class Pipeline:
    """
    Assets and jobs that belong together, with defaults for their options.

    Args:
        name: The first half of their full names, and what rows call it: letters, digits and
            underscores.
        io: The IO manager of assets that name none; a name, or (name, configuration).
        queue: The queue of assets that name none.
        retry: The policy of assets that have none; a number is how often one is tried in all.
        timeout: The longest attempt of assets that say nothing else.
        priority: The priority of assets that have none; higher is sooner.
        tags: Added to those of every asset.
        owner: Whose the assets are that have no owner of their own.

    Raises:
        DefinitionError: The name or a default is not acceptable.
    """

    def __init__(
        self,
        name: str,
        *,
        io: IOLike | None = None,
        queue: str | None = None,
        retry: Retry | int | None = None,
        timeout: timedelta | str | float | None = None,
        priority: int = 0,
        tags: Sequence[str] = (),
        owner: str | None = None,
    ) -> None:
        caller = surroundings()
        self.source = Location(caller.f_code.co_filename, caller.f_lineno)
        read = OptionReader()
        self.defaults = Options(
            io=read.io(io),
            queue=read.queue(queue),
            retry=read.retry(retry),
            timeout=read.timeout(timeout),
            priority=read.priority(priority),
            tags=read.texts("tags", tags),
            owner=read.text("owner", owner),
        )
        wrong = [name_objection("a pipeline", name), *read.objections]
        problems = [Problem(it, where=str(self.source)) for it in wrong if it]
        if problems:
            raise DefinitionError(problems=problems)
        self.name = name
        self._assets: list[Asset[..., object]] = []
        self._jobs: list[AnyJob] = []
        self._schedules: list[Schedule] = []
        self._places: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"<pipeline {self.name}: {len(self._assets)} assets, {len(self._jobs)} jobs>"

    @property
    def assets(self) -> tuple[Asset[..., object], ...]:
        """The assets in the order in which they were defined."""
        return tuple(self._assets)

    @property
    def jobs(self) -> tuple[AnyJob, ...]:
        """The jobs in the order in which they were defined."""
        return tuple(self._jobs)

    @property
    def schedules(self) -> tuple[Schedule, ...]:
        """The schedules in the order in which they were defined."""
        return tuple(self._schedules)

    @overload
    def asset(self, function: Definition[P, T, R], /) -> Asset[P, T, R]: ...
    @overload
    def asset(
        self, function: Callable[P, Coroutine[Any, Any, T | Skip | Snooze | Cancel]], /
    ) -> Asset[P, T, Coroutine[Any, Any, T]]: ...
    @overload
    def asset(
        self, function: Callable[P, Awaitable[T | Skip | Snooze | Cancel]], /
    ) -> Asset[P, T, Awaitable[T]]: ...
    @overload
    def asset(self, function: Callable[P, T | Skip | Snooze | Cancel], /) -> Asset[P, T, T]: ...
    @overload
    def asset(
        self,
        /,
        *,
        name: str | None = None,
        io: IOLike | None = None,
        retry: Retry | int | None = None,
        timeout: timedelta | str | float | None = None,
        queue: str | None = None,
        priority: int | None = None,
        tags: Sequence[str] = (),
        owner: str | None = None,
        description: str | None = None,
        aliases: Sequence[str] = (),
        after: Sequence[AssetRef] = (),
        version: str | None = None,
        executor: Literal["thread", "process"] | None = None,
    ) -> AssetDecorator: ...

    def asset(
        self,
        function: object = None,
        /,
        *,
        name: str | None = None,
        io: IOLike | None = None,
        retry: Retry | int | None = None,
        timeout: timedelta | str | float | None = None,
        queue: str | None = None,
        priority: int | None = None,
        tags: Sequence[str] = (),
        owner: str | None = None,
        description: str | None = None,
        aliases: Sequence[str] = (),
        after: Sequence[AssetRef] = (),
        version: str | None = None,
        executor: Literal["thread", "process"] | None = None,
        **unknown: object,
    ) -> object:
        """
        Make an asset of the function below; with or without parentheses.

        A wrong value, or an option that there is not, is told when the application is built,
        together with whatever else is wrong.

        Args:
            name: By default the function's.
            io: The IO manager that keeps the value: its name, or (name, configuration).
            retry: The policy of attempts; a number is how often it is tried in all.
            timeout: The longest that one attempt may take.
            queue: Which workers run it; at most 40 bytes.
            priority: Higher is sooner, among what is ready in the same queue.
            tags: Words for people and selectors.
            owner: Whom to ask.
            description: By default the function's docstring.
            aliases: Names that the asset had before, so that its history stays its own.
            after: Assets that have to come first; nothing is loaded from them.
            version: Replaces the hash of the code when it is decided whether a value is fresh.
            executor: Where a plain function runs: in a thread (the default), or in a child process
                (``"process"``) if it holds the GIL for long.

        Raises:
            DefinitionError: It is not a function.
        """
        read = OptionReader()
        options = Options(
            io=read.io(io) or self.defaults.io,
            retry=read.retry(retry) or self.defaults.retry,
            timeout=read.timeout(timeout) or self.defaults.timeout,
            queue=read.queue(queue) or self.defaults.queue,
            priority=self.defaults.priority if priority is None else read.priority(priority),
            tags=tuple(dict.fromkeys((*self.defaults.tags, *read.texts("tags", tags)))),
            owner=read.text("owner", owner) or self.defaults.owner,
            description=read.description(description),
            aliases=tuple(full_name(it, self.name) for it in read.texts("aliases", aliases)),
            version=read.text("version", version),
            executor=read.executor(executor),
        )
        read.unknown(unknown, Pipeline.asset)
        draft = Draft("asset", self.name, name, options, read.objections, self._kept, after)
        return draft if function is None else draft(function)

    @overload
    def job(
        self,
        function: Callable[
            Concatenate[JobContext, A], Coroutine[Any, Any, T | Skip | Snooze | Cancel]
        ],
        /,
    ) -> Job[A, Concatenate[JobContext, A], T, Coroutine[Any, Any, T]]: ...
    @overload
    def job(
        self, function: Callable[A, Coroutine[Any, Any, T | Skip | Snooze | Cancel]], /
    ) -> Job[A, A, T, Coroutine[Any, Any, T]]: ...
    @overload
    def job(
        self, function: Callable[Concatenate[JobContext, A], T | Skip | Snooze | Cancel], /
    ) -> Job[A, Concatenate[JobContext, A], T, T]: ...
    @overload
    def job(self, function: Callable[A, T | Skip | Snooze | Cancel], /) -> Job[A, A, T, T]: ...
    @overload
    def job(
        self,
        /,
        *,
        name: str | None = None,
        retry: Retry | int | None = None,
        timeout: timedelta | str | float | None = None,
        queue: str | None = None,
        priority: int | None = None,
        tags: Sequence[str] = (),
        owner: str | None = None,
        description: str | None = None,
        aliases: Sequence[str] = (),
        executor: Literal["thread", "process"] | None = None,
        unique: Unique | None = None,
        lane: str | None = None,
    ) -> JobDecorator: ...

    def job(
        self,
        function: object = None,
        /,
        *,
        name: str | None = None,
        retry: Retry | int | None = None,
        timeout: timedelta | str | float | None = None,
        queue: str | None = None,
        priority: int | None = None,
        tags: Sequence[str] = (),
        owner: str | None = None,
        description: str | None = None,
        aliases: Sequence[str] = (),
        executor: Literal["thread", "process"] | None = None,
        unique: Unique | None = None,
        lane: str | None = None,
        **unknown: object,
    ) -> object:
        """
        Make a job of the function below; with or without parentheses.

        Its parameters are what `Job.with_` takes, but for a first one of type `JobContext` and
        those that a ``Requires`` fills. What it returns is kept with the job, as JSON.

        Args:
            retry: The policy of attempts; a number is how often it is tried in all. By default
                `flowstone.core.job.JOB_RETRY`: twenty attempts over a week, whatever the
                function raised.
            unique: Which others are the same, so that one of them is enqueued.
            lane: An argument: of this job's calls with one value of it one runs at a time, in the
                order in which they were enqueued, also while the first waits for its retry.

        The other options are those of `asset`.

        Raises:
            DefinitionError: It is not a function.
        """
        read = OptionReader()
        options = Options(
            retry=read.retry(retry) or self.defaults.retry or JOB_RETRY,
            timeout=read.timeout(timeout) or self.defaults.timeout,
            queue=read.queue(queue) or self.defaults.queue,
            priority=self.defaults.priority if priority is None else read.priority(priority),
            tags=tuple(dict.fromkeys((*self.defaults.tags, *read.texts("tags", tags)))),
            owner=read.text("owner", owner) or self.defaults.owner,
            description=read.description(description),
            aliases=tuple(full_name(it, self.name) for it in read.texts("aliases", aliases)),
            executor=read.executor(executor),
            unique=read.unique(unique),
            lane=read.text("lane", lane),
        )
        read.unknown(unknown, Pipeline.job)
        draft = Draft("job", self.name, name, options, read.objections, self._kept_job)
        return draft if function is None else draft(function)

    def schedule(
        self,
        name: str,
        cron: str,
        call: JobCall[object],
        *,
        timezone: str = "UTC",
        missed: Missed = "one",
        queue: str | None = None,
        priority: int | None = None,
    ) -> Schedule:
        """
        Enqueue a job again and again, at the ticks of a cron expression.

        Workers keep the schedules of their code as rows, from when the first one starts: added,
        changed, and deleted with the code. Each tick is enqueued once, however many workers there
        are. What is wrong is told when the application is built.

        Args:
            name: Its name in the pipeline.
            cron: Five fields, ``"0 8 * * MON-FRI"``; six with seconds before them; or a nickname,
                ``"@daily"``.
            call: The job with its arguments: ``report.with_(region="eu")``.
            timezone: Whose wall clock it goes by: ``"Europe/Berlin"``.
            missed: What becomes of ticks while no worker runs: ``"one"`` job makes up for all of
                them, ``"all"`` are made up for (the newest hundred), or none (``"skip"``).
            queue: By default the job's.
            priority: By default the job's.

        Raises:
            DefinitionError: ``call`` is no call of a job.
        """
        around = surroundings()
        schedule = schedule_of(
            name,
            cron,
            call,
            Location(around.f_code.co_filename, around.f_lineno),
            timezone=timezone,
            pipeline=self.name,
            missed=missed,
            queue=queue,
            priority=priority,
        )
        if not os.path.exists(schedule.source.file):  # a notebook's cell, run again, replaces it
            self._schedules = [it for it in self._schedules if it.name != name]
        self._schedules.append(schedule)
        return schedule

    def _kept(self, asset: Asset[..., object]) -> Asset[..., object]:
        self.add(asset)
        return asset

    def _kept_job(self, body: Asset[..., object]) -> AnyJob:
        job: AnyJob = Job(body)
        for place, known in enumerate(self._jobs):
            if known.name == job.name and _is_same_cell(known.body, body):
                self._jobs[place] = job
                return job
        self._jobs.append(job)
        return job

    def add(self, asset: Asset[..., object]) -> None:
        """
        Keep an asset that was made for this pipeline.

        In a notebook, a cell that is run again replaces what it defined. Elsewhere two assets of
        one name are both kept, and refused when the application is built.
        """
        place = self._places.setdefault(asset.name, len(self._assets))
        if place < len(self._assets) and _is_same_cell(self._assets[place], asset):
            self._assets[place] = asset
        else:
            self._assets.append(asset)


def _is_same_cell(known: Asset[..., object], again: Asset[..., object]) -> bool:
    """Whether both come from a notebook's or a prompt's cells, and from the same function name."""
    old, new = innermost(known.function), innermost(again.function)
    return (
        new.__module__ == old.__module__ == "__main__"
        and getattr(new, "__qualname__", "") == getattr(old, "__qualname__", None)
        and not os.path.exists(again.source.file)
    )
