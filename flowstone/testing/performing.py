"""One attempt at a job or an asset, alone: nothing is enqueued, claimed or stored."""

import asyncio
import json
from collections.abc import Mapping
from typing import TypeAlias, TypeVar, overload

from flowstone.core.application import FlowStone
from flowstone.core.asset import Asset
from flowstone.core.contracts.store import Claim, Settlement
from flowstone.core.contracts.transactions import SettlingTransaction
from flowstone.core.error_record import read_record
from flowstone.core.errors import InvalidOptionError, UnknownJobError
from flowstone.core.io_choice import IOLike
from flowstone.core.job import Job, JobCall
from flowstone.core.outcome import Waiting
from flowstone.core.planner import DEFAULT_QUEUE
from flowstone.core.registration import NOBODY
from flowstone.core.resources import Resources
from flowstone.core.results import Cancel, Skip, Snooze
from flowstone.core.status import Event
from flowstone.core.submission import ConfigLike
from flowstone.core.worker_options import WorkerOptions
from flowstone.core.worker_transactions import WorkerTransactions
from flowstone.testing.given_values import GivenValues
from flowstone.testing.watched_executor import WatchedExecutor

T = TypeVar("T")

Outcome: TypeAlias = T | Snooze | Cancel | Skip | Waiting
"""What an attempt that does not raise can come to."""


@overload
async def perform(
    app: FlowStone,
    target: JobCall[T],
    /,
    *,
    attempt: int = 1,
    job_id: int = 1,
    queue: str | None = None,
    resources: Mapping[type, object] | None = None,
) -> Outcome[T]: ...


@overload
async def perform(
    app: FlowStone,
    target: Asset[..., T],
    /,
    *,
    partition: object = None,
    inputs: Mapping[str, object] | None = None,
    config: ConfigLike | None = None,
    io: IOLike | None = None,
    attempt: int = 1,
    run_id: int = 1,
    resources: Mapping[type, object] | None = None,
) -> Outcome[T]: ...


async def perform(
    app: FlowStone,
    target: JobCall[object] | Asset[..., object],
    /,
    *,
    attempt: int = 1,
    job_id: int | None = None,
    queue: str | None = None,
    partition: object = None,
    inputs: Mapping[str, object] | None = None,
    config: ConfigLike | None = None,
    io: IOLike | None = None,
    run_id: int | None = None,
    resources: Mapping[type, object] | None = None,
) -> object:
    """
    Run one attempt as a worker would, and return what came of it.

    That is the value, or the `Snooze`, `Cancel` or `Skip` that the function returned (of an asset
    with a strategy also `flowstone.core.outcome.Waiting`). What it raises is raised here, before
    anything decides whether it is tried again. Arguments, inputs and the value become JSON and come
    back, so that what could not be stored, or would come back as something else, shows. Timeouts
    hold, plain functions run in a thread, and telemetry is told. What it writes by
    ``ctx.transaction()`` is committed unless it raises.

    Args:
        attempt: What the function's context says; 1 is the first.
        job_id: Of a job, the same.
        queue: Of a job, the same; None is its own.
        partition: Of an asset: which slice.
        inputs: Of an asset: its inputs by parameter, or by the full name of what they come from.
            What is optional and left out is None, as from an upstream that has failed.
        config: Of an asset: its configuration, or its fields.
        io: Of an asset: where its value would go; what an IO manager would keep does not become
            JSON, and is kept nowhere.
        run_id: Of an asset: what the context says.
        resources: Values by type in the place of the application's, which has to be open for the
            rest.

    Raises:
        JobArgumentsError: Arguments are not of the types that the job says.
        UnknownJobError: The application was not given the job's pipeline.
        UnknownAssetError: Nor the asset's.
        InvalidOptionError: An input is missing or unknown, or an option is of the other kind.
        ValueNotStorableError: What it returned cannot be stored.
    """
    if isinstance(target, JobCall):
        _refuse("a job", partition=partition, inputs=inputs, config=config, io=io, run_id=run_id)
        asset = target.job.body
        values = GivenValues(app, asset, {})
        claim = _of_job(app, target, attempt, 1 if job_id is None else job_id, queue)
    elif isinstance(target, Asset):
        _refuse("an asset", job_id=job_id, queue=queue)
        asset = app.definitions.get(target)
        values = GivenValues(app, asset, inputs or {})
        # Alone: its upstreams do not run, and may be of partitions that it does not ask for.
        request = app._submissions.request(
            [asset], partition=partition, config=config, io=io, with_deps=False
        )
        claim = Claim(
            id=1,
            claim=0,
            run_id=1 if run_id is None else run_id,
            asset=asset.full_name,
            partition=request.partitions[0],
            attempt=attempt,
            inputs=values.sources,
            options=request.options.dump(),
        )
    else:
        raise InvalidOptionError(_no_target(target))
    executor = app._executor_of(
        WatchedExecutor, 1, 1, values=values, resources=_Given(resources or {}, app.resources)
    )
    try:
        await executor.execute(claim, _Committing(app))
    finally:
        executor.close()
    if executor.raised:
        raise executor.raised[0]
    assert executor.last is not None, "what does not raise comes to something"
    return _outcome(app, asset, executor.last, values)


def _of_job(
    app: FlowStone, call: JobCall[object], attempt: int, job_id: int, queue: str | None
) -> Claim:
    job = call.job
    if app.definitions.jobs.get(job.full_name) is not job:
        raise UnknownJobError(job.full_name, app.definitions.jobs)
    return Claim(
        id=job_id,
        claim=0,
        run_id=None,
        asset=job.full_name,
        partition="",
        attempt=attempt,
        queue=queue or job.options.queue or DEFAULT_QUEUE,
        arguments=job.arguments.encode(call.arguments, app.codec),
    )


def _outcome(
    app: FlowStone, asset: Asset[..., object], settlement: Settlement, values: GivenValues
) -> object:
    match settlement.event:
        case Event.SNOOZED if settlement.delay is not None:
            return Snooze(settlement.delay)
        case Event.CANCELLED:
            return Cancel(_reason(settlement))
        case Event.SKIPPED:
            return Skip(_reason(settlement))
        case Event.WAITED if settlement.wait is not None:
            wait = settlement.wait
            return Waiting(wait.on, json.loads(wait.state), settlement.delay, wait.external)
    if settlement.value is None:
        return values.kept
    return app.codec.decode(settlement.value, asset.value_type)


def _reason(settlement: Settlement) -> str:
    return str(read_record(settlement.error).get("message", ""))


def _refuse(kind: str, **alien: object) -> None:
    given = [name for name, value in alien.items() if value is not None]
    if given:
        raise InvalidOptionError(f"{kind} takes no {', '.join(given)}")


def _no_target(target: object) -> str:
    if isinstance(target, Job):
        return f"{target.name} wants to be called: perform(app, {target.name}.with_(…))"
    return f"perform() takes an asset, or a job's call such as send_mail.with_(…), not {target!r}"


class _Committing(WorkerTransactions):
    """Commits what an attempt has written, alone: there is no row that could be settled with it."""

    def __init__(self, app: FlowStone) -> None:
        super().__init__(app.store, WorkerOptions().lease, lambda: NOBODY, lambda *_: None)
        self.loop = asyncio.get_running_loop()

    async def settle(
        self, transaction: SettlingTransaction, settlement: Settlement
    ) -> Settlement | None:
        await transaction.commit()
        return None


class _Given(Resources):
    """What a test gives, and for the rest what the application has."""

    def __init__(self, given: Mapping[type, object], rest: Resources) -> None:
        super().__init__()
        self._given = given
        self._rest = rest

    def get(self, kind: type[T]) -> T:
        """Return the value for a type; see `Resources.get`."""
        if kind in self._given:
            value: T = self._given[kind]  # type: ignore[assignment]  # given under its type
            return value
        return self._rest.get(kind)
