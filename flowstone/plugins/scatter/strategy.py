"""
How a scatter is computed.

::

    start ──creates the barrier──▶ waits ──the last item ends──▶ resume ──gathers──▶ its value
                 └─▶ assist: reads the items page by page, and runs them, with helpers if need be

Reading and running are done by assistants, so that starting takes no time, whatever the number of
items, and whoever dies is replaced: reading goes on from the last page, and items go back.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar
from weakref import WeakKeyDictionary

from flowstone.core.asset import Asset
from flowstone.core.contracts.strategy import Execution, Strategy
from flowstone.core.defaults.function_strategy import outcome_of
from flowstone.core.errors import DatabaseError, Problem
from flowstone.core.json_value import JsonText, JsonValue
from flowstone.core.outcome import (
    Cancelled,
    Failed,
    Outcome,
    Skipped,
    Snoozed,
    Stored,
    Waiting,
    Wake,
)
from flowstone.core.retry import Retry
from flowstone.core.telemetry import listens
from flowstone.plugins.scatter.batch_body import BatchBody, BatchTypes
from flowstone.plugins.scatter.batching import Batching
from flowstone.plugins.scatter.body import Body
from flowstone.plugins.scatter.coordinator import ScatterCoordinator
from flowstone.plugins.scatter.ending import (
    MOST_ATTEMPTS,
    PREPARING,
    READING,
    SETTLING,
    end_with,
    failure_of,
)
from flowstone.plugins.scatter.errors import BarrierNotFoundError
from flowstone.plugins.scatter.feeding import Feeding, ItemRules
from flowstone.plugins.scatter.options import ScatterOptions
from flowstone.plugins.scatter.pump import Pump
from flowstone.plugins.scatter.pump_place import MOST_AT_ONCE, PumpPlace
from flowstone.plugins.scatter.records import (
    BarrierState,
    BarrierStatus,
    Feed,
    Inserted,
    ItemEvent,
    ItemOutcome,
    NewBarrier,
)
from flowstone.plugins.scatter.results import Results, Scattered
from flowstone.plugins.scatter.telemetry import facts_of
from flowstone.plugins.scatter.time_limit import Place

MOST_IN_THREADS = 64
"""How many plain functions of one pump wait for, or run in, the threads of a worker."""

NEXT_LOOK = timedelta(seconds=2)
"""Before a pump that nobody needs here may be claimed again, perhaps by another process."""


@dataclass(eq=False)
class Scatter(Strategy):
    """
    Runs the asset's function once for each item, and gathers the results.

    Attributes:
        options: As the decorator was given them.
        retry: When an item is tried again.
        rules: What becomes of what is read.
        gathers: Whether there is a function that gathers.
        batching: How items are put together; None: the function is given one by one.
    """

    options: ScatterOptions
    retry: Retry
    rules: ItemRules
    gathers: bool
    batching: Batching | None = None

    plugin: ClassVar[str | None] = "scatter"

    def __post_init__(self) -> None:
        # Which barriers have a pump in this process: a second one would share its event loop.
        self._pumping: WeakKeyDictionary[ScatterCoordinator, set[int]] = WeakKeyDictionary()

    def problems(
        self,
        asset: Asset[..., object],
        assets: Mapping[str, Asset[..., object]],
        dependents: Sequence[Asset[..., object]],
    ) -> Iterator[Problem]:
        if self.batching is None:
            return
        where = {"where": str(asset.source), "asset": asset.full_name}
        for parameter, annotation in list(asset.signature.supplied_types.items())[:1]:
            objection = BatchTypes.objection(annotation)
            if objection is not None:
                fix = f"def {asset.name}({parameter}: Batch[Item, None], ...)"
                yield Problem(f"parameter '{parameter}' {objection}", fix=fix, **where)
        if asset.options.executor == "process":
            message = "a batch does not cross to a child process; scatter its items one by one"
            yield Problem(message, **where)

    async def start(self, execution: Execution) -> Outcome:
        """Create the barrier, with an assistant that feeds it."""
        coordinator = execution.coordinator(ScatterCoordinator)
        barrier = NewBarrier(
            execution.materialization_id,
            execution.run_id,
            execution.asset.full_name,
            execution.partition,
            self.options,
            is_batched=self.batching is not None,
            input=await self._input(execution, coordinator),
        )
        if await coordinator.create(barrier):
            execution.telemetry.execute("scatter.start", {}, facts_of(execution))
        else:
            status = await coordinator.status(barrier.id)
            if status.state.is_terminal:
                return await self._ended(execution, coordinator, status)
        return _waiting()

    async def _input(
        self, execution: Execution, coordinator: ScatterCoordinator
    ) -> JsonText | None:
        """Return what all batches share; a scatter that was begun before has it already."""
        if self.batching is None or self.batching.input is None:
            return None
        with suppress(BarrierNotFoundError):
            await coordinator.status(execution.materialization_id)
            return None
        value = self.batching.input
        if callable(value):
            value = await execution.call_phase("input")
        return execution.codec.encode(value)

    async def resume(self, execution: Execution, wake: Wake) -> Outcome:
        """Gather, or fail as the barrier has."""
        coordinator = execution.coordinator(ScatterCoordinator)
        status = await coordinator.status(execution.materialization_id)
        if not status.state.is_terminal:
            return _waiting()  # somebody else has woken it
        return await self._ended(execution, coordinator, status)

    async def assist(self, execution: Execution, arguments: JsonValue) -> Outcome:
        """Feed the barrier if that is what it was added for, and run items beside it."""
        coordinator = execution.coordinator(ScatterCoordinator)
        feeds = isinstance(arguments, dict) and bool(arguments.get("feeds"))
        try:
            feed = await coordinator.feed(
                execution.materialization_id, claim=execution.claim if feeds else None
            )
        except BarrierNotFoundError:
            return Skipped()
        if feed is None or feed.state.is_terminal:
            return Skipped()
        return await self._work(execution, coordinator, feed, feeds=feeds and not feed.is_closed)

    async def _work(
        self,
        execution: Execution,
        coordinator: ScatterCoordinator,
        feed: Feed,
        *,
        feeds: bool,
    ) -> Outcome:
        barrier_id = execution.materialization_id
        pumping = self._pumping.setdefault(coordinator, set())
        if barrier_id in pumping:
            if not feeds:
                return Snoozed(NEXT_LOOK)
            await self._feed(execution, coordinator, feed, lambda _: None)
            return Snoozed(NEXT_LOOK)
        pumping.add(barrier_id)
        try:
            return await self._pump(execution, coordinator, feed, feeds=feeds)
        finally:
            pumping.discard(barrier_id)

    async def _pump(
        self, execution: Execution, coordinator: ScatterCoordinator, feed: Feed, *, feeds: bool
    ) -> Outcome:
        feeding: asyncio.Task[None] | None = None
        try:
            body = await self._body(execution, feed)
        except Exception as raised:
            # An input that cannot be read as it is annotated, a resource that there is not.
            await end_with(execution, coordinator, raised, PREPARING)
            return Skipped()
        assert execution.assistant_id is not None
        asset = execution.asset
        place = PumpPlace(
            barrier_id=execution.materialization_id,
            pump_id=execution.assistant_id,
            claim=execution.claim,
            most_at_once=MOST_AT_ONCE if asset.is_async else MOST_IN_THREADS,
            max_concurrent=feed.options.max_concurrent,
            has_rate=feed.options.rate_limit is not None,
            timeout=feed.options.timeout,
            is_wanted_back=lambda: execution.is_wanted_back,
            is_fed=lambda: feeding is not None and not feeding.done(),
            runs_in=_place_of(asset),
        )
        pump = Pump(place, coordinator, body, _teller(execution))

        def told(_: Inserted) -> None:
            pump.look_again()

        try:
            if feeds:
                feeding = asyncio.create_task(self._feed(execution, coordinator, feed, told))
                feeding.add_done_callback(lambda _: pump.look_again())
            outcome = await pump.run()
        except DatabaseError as refused:
            # A pump outlasts a store that is away; what is refused it would report for ever.
            if refused.retryable or execution.attempt < MOST_ATTEMPTS:
                raise
            await end_with(execution, coordinator, refused, SETTLING)
            return Skipped()
        finally:
            if feeding is not None:
                feeding.cancel()
                await asyncio.gather(feeding, return_exceptions=True)
        if feeding is not None and not feeding.cancelled() and feeding.exception() is not None:
            raise feeding.exception() or AssertionError
        if pump.state is BarrierState.CANCELLED:
            execution.telemetry.execute("scatter.cancel", {}, facts_of(execution))
        is_fed = feeding is None or not feeding.cancelled()
        if isinstance(outcome, Skipped) and not is_fed and not pump.state.is_terminal:
            return Snoozed(timedelta(0))
        return outcome

    async def _feed(
        self,
        execution: Execution,
        coordinator: ScatterCoordinator,
        feed: Feed,
        told: Callable[[Inserted], None],
    ) -> None:
        """Read to the end; what cannot be read ends the barrier."""
        facts = facts_of(execution)

        def tell(inserted: Inserted) -> None:
            measured = {"count": inserted.count, "total": inserted.total}
            execution.telemetry.execute("scatter.insert", measured, facts)
            if self.batching is not None and inserted.count:
                created = {"batch_count": float(inserted.count)}
                execution.telemetry.execute("scatter.batch_create", created, facts)
            told(inserted)

        try:
            await Feeding(execution, coordinator, self.rules, feed, tell, self.batching).run()
        except (Exception, asyncio.CancelledError, SystemExit) as raised:
            # An exit too: items that exit must not take their worker with them.
            task = asyncio.current_task()
            if isinstance(raised, asyncio.CancelledError) and (task is None or task.cancelling()):
                raise
            await end_with(execution, coordinator, raised, READING)
            told(Inserted(0, 0, BarrierState.FAILED))

    async def _body(self, execution: Execution, feed: Feed) -> Body:
        asset = execution.asset
        (parameter, item_type), *_ = asset.signature.supplied_types.items()
        if self.batching is not None:
            return BatchBody(
                await execution.prepare(),
                parameter=parameter,
                batch_types=BatchTypes.of(item_type),
                input=feed.input,
                collects_errors=self.batching.collects_errors,
                codec=execution.codec,
                retry=self.retry,
                normalizer=execution.normalizer,
                telemetry=execution.telemetry,
                facts=facts_of(execution),
            )
        return Body(
            await execution.prepare(),
            parameter=parameter,
            item_type=item_type,
            codec=execution.codec,
            retry=self.retry,
            normalizer=execution.normalizer,
            asset=asset.full_name,
        )

    async def _ended(
        self, execution: Execution, coordinator: ScatterCoordinator, status: BarrierStatus
    ) -> Outcome:
        measured = {"completed": status.completed, "failed": status.failed}
        facts = facts_of(execution)
        if status.state is BarrierState.CANCELLED:
            return Cancelled("its scatter was cancelled")
        if not status.state.has_results:
            execution.telemetry.execute("scatter.failed", measured, facts)
            return Failed(await failure_of(coordinator, status))
        execution.telemetry.execute("scatter.complete", measured, facts)
        if not self.gathers:
            return Stored(Scattered(status.total, status.completed, status.failed))
        execution.telemetry.execute("scatter.gather_ready", {}, facts)
        asset = execution.asset
        item_type = next(iter(asset.signature.supplied_types.values()))
        results: Results[object, object] = Results(
            coordinator,
            status,
            execution.codec,
            item_type=item_type if self.batching is None else BatchTypes.of(item_type).items,
            value_type=asset.signature.value_type,
        )
        (parameter, *_) = asset.phase_signatures["gather"].supplied
        value = await execution.call_phase("gather", **{parameter: results})
        return outcome_of(value)


def _place_of(asset: Asset[..., object]) -> Place:
    if asset.options.executor == "process":
        return "child"
    return "loop" if asset.is_async else "thread"


def _waiting() -> Waiting:
    return Waiting("scatter", external=False)


_TOLD = {
    ItemEvent.COMPLETED: "scatter.instance_complete",
    ItemEvent.FAILED: "scatter.instance_fail",
    ItemEvent.RETRIED: "scatter.instance_error",
}


def _teller(execution: Execution) -> Callable[[ItemOutcome], None] | None:
    """Return what tells of each item, if anybody listens."""
    telemetry, facts = execution.telemetry, facts_of(execution)
    if not any(listens(telemetry, event) for event in _TOLD.values()):
        return None

    def tell(outcome: ItemOutcome) -> None:
        if outcome.event not in _TOLD:
            return  # no attempt was made
        error = {} if outcome.error is None else {"error": outcome.error}
        telemetry.execute(_TOLD[outcome.event], {}, {**facts, "index": outcome.index, **error})

    return tell
