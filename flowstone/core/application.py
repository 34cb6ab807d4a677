"""
The application: pipelines bound to a store, IO managers, resources and plugins.

`run` computes here and now; `enqueue` leaves it to workers. Both plan in the same way and go
through the same loop, in memory and on Postgres.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeAlias, TypeVar, Unpack, cast, overload

from flowstone.core.application_jobs import AnyArguments, ApplicationJobs, are_calls, of_job
from flowstone.core.asset import Asset
from flowstone.core.asset_status import AssetState, AssetStatus
from flowstone.core.contracts.health import Finding
from flowstone.core.errors import InvalidOptionError
from flowstone.core.graph import Format, render
from flowstone.core.handle import RunHandle
from flowstone.core.health import HealthReport, answer_to, finding_of
from flowstone.core.io_choice import IOLike
from flowstone.core.job import JobCall
from flowstone.core.job_handle import JobHandle
from flowstone.core.job_submission import JobOptions
from flowstone.core.local_run import finish
from flowstone.core.pipeline import Pipeline
from flowstone.core.planner import DEFAULT_QUEUE, Decision
from flowstone.core.services import ServingWorker
from flowstone.core.submission import EnqueueArguments, RequestArguments, RunArguments
from flowstone.core.subscription import Happening, subscribe
from flowstone.core.sweep import GRACE, Swept
from flowstone.core.worker import Worker
from flowstone.core.worker_options import WorkerOptions

T = TypeVar("T")

Target: TypeAlias = Asset[..., T] | str


class FlowStone(ApplicationJobs):
    """
    An application; open it with ``async with``.

    Args:
        pipelines: What it knows; checked at once, all errors together.
        dsn: A Postgres database. None keeps everything in memory, for tests and notebooks.
        schema: Where ``flowstone db migrate`` has put the tables.
        io: IO managers by the name that ``io=`` uses; ``default`` replaces the built-in one, which
            keeps values in the store itself.
        readers: Item readers by the name that ``reader("name")`` uses.
        resources: By the type that assets ask for with ``Requires``: a `Resource`, or a pair of one
            and its configuration.
        telemetry: What is told of events; by default a `Telemetry`, to attach handlers to.
        plugins: Plugins, or names of installed ones.
        codec: What turns values into JSON and back, or the name of one that a plugin brings.
        sweep_after: How old an orphan in an IO manager has to be before a worker deletes it; None
            leaves it to `sweep`.
        retention: How long what has ended is kept; None is for ever.
        limits: Limits of the application's own by name, for ``ctx.limit``.
        coordinators: By the contract of a plugin, what keeps its state in the place of the plugin's
            own: a class, or a pair of one and its configuration.
        queues: Limits of queues, by name. A worker writes them when it starts, except where
            somebody has said others at run time (``app.queues.limit``), which stay.

    Raises:
        DefinitionError: Something is wrong with the pipelines, or a resource is missing.
        NotRegisteredError: An asset names an IO manager that is not given.
    """

    @overload
    async def run(self, target: Asset[..., T], /, **given: Unpack[RunArguments]) -> T: ...

    @overload
    async def run(self, target: str, /, **given: Unpack[RunArguments]) -> object: ...

    @overload
    async def run(
        self, target: list[Target[object]], /, **given: Unpack[RunArguments]
    ) -> list[object]: ...

    async def run(
        self, target: Target[object] | Sequence[Target[object]], /, **given: Unpack[RunArguments]
    ) -> object:
        """
        Compute the target in this process and return its value; of several targets, a list.

        What is fresh is reused. On Postgres the run is durable: if this process dies, workers
        finish it, and they may help while it lives.

        Args:
            partition: Which slice; None is an asset without partitions.
            force: Compute the target even if its value is fresh.
            with_deps: Bring upstreams up to date first (the default); otherwise they have to have
                a value.
            io: Where the target's value goes: the name of an IO manager, or that and JSON-safe
                fields of its configuration, ``("lake", {"prefix": "eu"})``.
            config: The target's configuration, or its fields.

        Raises:
            UnknownAssetError: There is no such asset.
            DependencyNotReadyError: Without ``with_deps``, an upstream has no value.
            RunFailedError: Something failed; the cause is what failed last in this process.
            RunWaiting: Only an outside event can move the run, which goes on when it comes.
        """
        created = await self._submissions.create(
            self._submissions.request(_listed(target), **given)
        )
        several = not isinstance(target, Asset | str)
        return await self.finish(self._handle(created.run_id, several=several))

    async def finish(self, handle: RunHandle[T]) -> T:
        """Work on the handle's run in this process until it ends; returns and raises as `run`."""
        return await finish(handle, self.store, self._executor, self._emitter)

    @overload
    async def enqueue(self, target: JobCall[T], /, **given: Unpack[JobOptions]) -> JobHandle[T]: ...

    @overload
    async def enqueue(
        self, target: Asset[..., T], /, **given: Unpack[EnqueueArguments]
    ) -> RunHandle[T]: ...

    @overload
    async def enqueue(
        self, target: str, /, **given: Unpack[EnqueueArguments]
    ) -> RunHandle[object]: ...

    async def enqueue(
        self, target: Target[object] | JobCall[object], /, **given: Unpack[AnyArguments]
    ) -> RunHandle[Any] | JobHandle[Any]:
        """
        Leave an asset, or a job's call, to workers and return a handle at once.

        Args:
            conn: The caller's asyncpg, psycopg or SQLAlchemy async connection: the run exists when
                the caller commits, and not otherwise.
            dedupe: A repeat with the same text returns the first run, for as long as that is kept.
            queue: Where the whole run goes; by default where each asset says.
            priority: Of the whole run; by default what each asset says.
            at: Not before this instant, which needs a time zone.
            delay: Of a job: not before this much later, by the database's clock.

        Of a job ``conn``, ``queue``, ``priority``, ``at`` and ``delay`` can be said. The rest is of
        assets, as in `run`.
        """
        if are_calls([target]):
            [job] = await self._enqueue_jobs([cast("JobCall[object]", target)], **of_job(given))
            return job
        return await self._enqueue([cast("Target[object]", target)], None, several=False, **given)

    @overload
    async def enqueue_many(
        self, targets: Sequence[JobCall[T]], /, **given: Unpack[JobOptions]
    ) -> list[JobHandle[T]]: ...

    @overload
    async def enqueue_many(
        self,
        targets: Pipeline | Sequence[Target[object]],
        /,
        *,
        over: Iterable[object] | None = None,
        **given: Unpack[EnqueueArguments],
    ) -> RunHandle[list[object]]: ...

    async def enqueue_many(
        self,
        targets: Pipeline | Sequence[Target[object]] | Sequence[JobCall[object]],
        /,
        *,
        over: Iterable[object] | None = None,
        **given: Unpack[AnyArguments],
    ) -> RunHandle[list[object]] | list[JobHandle[Any]]:
        """
        Leave several targets, or a whole pipeline, to workers as one run; or several jobs.

        An upstream that several share is computed once. Values come partition by partition, in the
        order of the targets. Jobs are written in one statement, all or none, and each has a handle.

        Args:
            over: Partitions, all of them in this one run, instead of ``partition``.

        Other arguments and errors are those of `enqueue`.
        """
        if are_calls(targets):
            if over is not None:
                raise InvalidOptionError("over= is for assets; a job has no partitions")
            calls = cast("Sequence[JobCall[object]]", targets)
            return await self._enqueue_jobs(calls, **of_job(given))
        targets = cast("Pipeline | Sequence[Target[object]]", targets)
        listed = targets.assets if isinstance(targets, Pipeline) else _listed(targets)
        return await self._enqueue(listed, over, several=True, **given)

    async def _enqueue(
        self,
        targets: Sequence[Target[object]],
        over: Iterable[object] | None,
        /,
        *,
        several: bool,
        conn: object = None,
        dedupe: str | None = None,
        at: datetime | None = None,
        delay: object = None,
        **given: Unpack[RequestArguments],
    ) -> RunHandle[list[object]]:
        if delay is not None:
            raise InvalidOptionError("delay= is for jobs; an asset's run takes at=")
        request = self._submissions.request(targets, over, **given)
        created = await self._submissions.create(request, conn=conn, dedupe=dedupe, at=at)
        return self._handle(created.run_id, several=several, created=created.created)

    async def plan(
        self, target: Target[object] | Sequence[Target[object]], /, **given: Unpack[RunArguments]
    ) -> Sequence[Decision]:
        """
        Say what `run` with these arguments would compute, what it would reuse, and why.

        Upstreams come first. Writes nothing; raises as `run` does before it begins.
        """
        return await self._submissions.decide(self._submissions.request(_listed(target), **given))

    def handle(self, run_id: int) -> RunHandle[object]:
        """Return the handle of a run that is known by its id; nothing is looked up yet."""
        return self._handle(run_id, several=None)

    def subscribe(self, *, run: int) -> AsyncGenerator[Happening, None]:
        """
        Tell what happens in a run, until it has ended: ``async for event in app.subscribe(run=1)``.

        It begins with where the run and all that has moved in it stand now. The end of the run
        comes last and is never missed. The events of one asset's partition come in their order;
        fast ones are merged, so that the latest state is told and not each on the way to it. What
        ends, or is woken, is told at once, other steps within two seconds; in memory all at once.

        Anybody may subscribe, as often as he likes: it costs the work nothing. A database that is
        away is waited for. Leaving the loop, or closing the application, ends it.

        Args:
            run: The id of the run, whoever computes it: ``handle.run_id``.

        Raises:
            RunNotFoundError: There is no such run, or it was pruned meanwhile.
        """
        return subscribe(self.store, run, until=self._closing)

    async def retry(self, run_id: int) -> RunHandle[object]:
        """
        Enqueue again what a run was for, with its options; what is fresh by now is reused.

        Raises:
            RunNotFoundError: There is no such run.
        """
        record = await self.store.run(run_id)
        request = self._submissions.again(record)
        created = await self._submissions.create(request, retry_of=run_id)
        return self._handle(created.run_id, several=None)

    async def get(
        self, target: Target[T], /, *, partition: object = None, io: IOLike | None = None
    ) -> T:
        """
        Return the stored value.

        Args:
            io: Only a value that this IO manager holds.

        Raises:
            NotStoredError: There is none, or it was invalidated.
        """
        return await self._stored.get(target, partition, io)

    async def exists(
        self, target: Target[object], /, *, partition: object = None, io: IOLike | None = None
    ) -> bool:
        """Return whether there is a stored value that was not invalidated; rows decide."""
        _, current = await self._stored.current(target, partition, io)
        return current is not None and not current.invalidated

    async def status(self, target: Target[object], /, *, partition: object = None) -> AssetStatus:
        """Say where one partition of an asset stands."""
        key, current = await self._stored.current(target, partition, None)
        history = await self.store.history(key, limit=1)
        state = AssetState.MISSING
        if current is not None:
            state = AssetState.INVALIDATED if current.invalidated else AssetState.STORED
        return AssetStatus(
            key.asset,
            key.partition,
            state,
            current.materialized_at if current else None,
            current.io if current else None,
            current.version if current else None,
            history[0] if history else None,
        )

    async def invalidate(
        self,
        target: Target[object],
        /,
        *,
        partition: object = None,
        downstream: bool = True,
        io: IOLike | None = None,
    ) -> int:
        """
        Declare a value stale, and with it whatever was made from it; return how many became so.

        The next run computes them again. Doing it twice returns 0 the second time.

        Args:
            downstream: Also what was made from it, however far.
            io: Only a value that this IO manager holds.
        """
        keys = self._stored.keys(target, partition)
        return await self.store.invalidate(keys, downstream=downstream, io=self._holder(io))

    def _holder(self, io: IOLike | None) -> str | None:
        """Return what the store calls it: None is any, the empty text is the store itself."""
        return None if io is None else self._values.io.holder(io) or ""

    async def sweep(
        self, io: IOLike | None = None, *, grace: timedelta = GRACE, dry_run: bool = False
    ) -> list[Swept]:
        """
        Delete what IO managers have written and no row knows, and say how much that was.

        Late attempts, and those that died before they were settled, leave such orphans; workers
        sweep now and then by themselves. Nothing that is current, superseded or just being
        written is touched. A place that only calls have named (``io=`` with a configuration of
        its own) is swept when it is given here.

        Args:
            io: Only this one; otherwise all that are registered, and those that assets configure.
            grace: Younger ones are left.
            dry_run: Delete nothing, only count.
        """
        return await self._sweeper.sweep(self.store, io, grace=grace, dry_run=dry_run)

    async def health(self) -> HealthReport:
        """
        Say whether all works: the database, its tables, wake-ups, workers, resources, services of
        this process, plugins.

        Raises nothing, and answers within seconds when others do not. ``report.ok`` is whether
        nothing fails; each of ``report.problems`` has what mends it, as ``flowstone doctor`` says.
        """
        parts = await asyncio.gather(self.store.examine(), self._examine_parts())
        return HealthReport([finding for findings in parts for finding in findings])

    def graph(self, pipeline: Pipeline | None = None, *, format: Format = "ascii") -> str:
        """
        Draw the dependencies of a pipeline, or of all.

        Args:
            format: ``ascii``, ``mermaid``, ``dot`` or ``json``.
        """
        names = None if pipeline is None else [asset.full_name for asset in pipeline.assets]
        return render(self.definitions.dag, names, format=format, labels=self.definitions.labels)

    def worker(self, options: WorkerOptions | None = None) -> Worker:
        """
        Return a worker over this application's store; ``await worker.run()`` works.

        The background services of plugins start and stop with it. Without options it serves every
        queue that an asset or a job names, with 20 slots each.
        """
        if options is None:
            queues = {queue or DEFAULT_QUEUE: 20 for queue in self.definitions.queues}
            options = WorkerOptions(queues=queues)
        options = replace(options, limits=self._queue_limits)
        executor = self._executor(
            sum(options.queues.values()) or options.slots, options.child_processes
        )
        return ServingWorker(self, self._services, executor, self._emitter, options)

    async def _examine_parts(self) -> list[Finding]:
        plugins = [it.plugin for it in self.plugins if it.has_health_check]
        checks = [answer_to(partial(it.health_check, self)) for it in plugins]
        resources, answers = await asyncio.gather(self.resources.health(), asyncio.gather(*checks))
        return [
            *(finding_of(f"resource {kind.__qualname__}", it) for kind, it in resources.items()),
            *self._services.findings(),
            *(
                finding_of(f"plugin {it.name}", answer)
                for it, answer in zip(plugins, answers, strict=True)
            ),
        ]

    def _handle(
        self, run_id: int, *, several: bool | None, created: bool = True
    ) -> RunHandle[list[object]]:
        results = partial(self._stored.results, several=several)
        return RunHandle(self.store, run_id, results, created=created, telemetry=self._emitter)


def _listed(given: Target[object] | Sequence[Target[object]]) -> Sequence[Target[object]]:
    return given if isinstance(given, Iterable) and not isinstance(given, str) else [given]
