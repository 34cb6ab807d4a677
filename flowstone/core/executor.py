"""One claim in, one settlement out: what happens to an asset between the two turns of a worker."""

import asyncio
import json
import logging
import time
from datetime import timedelta

from flowstone.core import run_options
from flowstone.core.application_limits import ApplicationLimits
from flowstone.core.asset import Asset
from flowstone.core.attempt import Attempt
from flowstone.core.attempt_context import Cancellation
from flowstone.core.chosen_io import DEFAULT_IO
from flowstone.core.contracts.codec import Codec
from flowstone.core.contracts.error_normalizer import ErrorNormalizer
from flowstone.core.contracts.store import Claim, Settlement, Store, Wait
from flowstone.core.contracts.strategy import Strategy
from flowstone.core.contracts.telemetry_emitter import TelemetryEmitter
from flowstone.core.coordinators import Coordinators
from flowstone.core.defaults.function_strategy import FunctionStrategy
from flowstone.core.definitions import Definitions
from flowstone.core.error_record import MESSAGE_BYTES, describe, harmless, shorten
from flowstone.core.errors import (
    AssetFunctionError,
    FlowStoneError,
    JobFunctionError,
    MaterializationTimeoutError,
    ValueNotStorableError,
)
from flowstone.core.item_reading import ItemReading
from flowstone.core.outcome import (
    Cancelled,
    Failed,
    Skipped,
    Snoozed,
    Stored,
    Waiting,
)
from flowstone.core.processes.call import Encoded
from flowstone.core.processes.processes import Processes
from flowstone.core.resources import Resources
from flowstone.core.retry import DEFAULT_RETRY
from flowstone.core.run_options import AssetOptions
from flowstone.core.status import Event
from flowstone.core.telemetry import listens
from flowstone.core.threads import Threads
from flowstone.core.values import MAX_BYTES, Values
from flowstone.core.worker_transactions import WorkerTransactions

logger = logging.getLogger("flowstone.asset")

UNKNOWN_ASSET_DELAY = timedelta(seconds=30)
"""Before another worker, perhaps a newer one, may try an asset that this code does not know."""

ASSISTANT_DELAY = timedelta(seconds=5)
"""Before an assistant that broke down is claimed again: nobody else does what it was at."""

_PLAIN = FunctionStrategy()

LONGEST_MS = 2**31 - 1
"""The longest duration that a row can hold; a consumer may well run for longer."""


class Executor:
    """Runs attempts for one worker; shared by all that it runs at once."""

    def __init__(
        self,
        definitions: Definitions,
        *,
        codec: Codec,
        store: Store,
        values: Values,
        resources: Resources,
        normalizer: ErrorNormalizer,
        telemetry: TelemetryEmitter,
        threads: Threads,
        processes: Processes | None,
        limits: ApplicationLimits,
        coordinators: Coordinators,
        reading: ItemReading,
    ) -> None:
        self._definitions = definitions
        self._codec = codec
        self._store = store
        self._values = values
        self._resources = resources
        self._normalizer = normalizer
        self._telemetry = telemetry
        self._threads = threads
        self._processes = processes
        self._limits = limits
        self._coordinators = coordinators
        self._reading = reading
        self._attempts: dict[int, Attempt] = {}
        self._winding_down = Cancellation()
        self.last_error: FlowStoneError | None = None
        """What made the last attempt fail; the cause of what ``app.run`` raises."""

    def close(self) -> None:
        """Let the threads go."""
        self._threads.close()

    async def execute(self, claim: Claim, transactions: WorkerTransactions) -> Settlement | None:
        """
        Run one attempt; whatever the author's code does becomes a settlement.

        None is left to settle when that was done together with what the author's code wrote.

        Raises:
            CancelledError: The worker cancelled this task.
        """
        asset = self._find(claim)
        if asset is None:
            kind = "Asset" if claim.run_id is not None else "Job"
            logger.warning("%s %s is unknown to this worker; handed back", kind, claim.asset)
            return Settlement(claim.id, claim.claim, Event.HANDED_BACK, delay=UNKNOWN_ASSET_DELAY)
        # By the name that the run was planned with: the asset may have another one by now.
        options = run_options.parse(claim.options).of(claim.asset)
        attempt = Attempt(
            asset,
            claim,
            options,
            aliases=self._definitions.aliases,
            codec=self._codec,
            store=self._store,
            values=self._values,
            resources=self._resources,
            threads=self._threads,
            processes=self._processes,
            transactions=transactions,
            limits=self._limits,
            telemetry=self._telemetry,
            normalizer=self._normalizer,
            winding_down=self._winding_down,
            coordinators=self._coordinators,
            reading=self._reading,
        )
        if claim.assists is not None:
            return await self._attempt(asset, claim, options, attempt)
        span, facts = _span(claim)
        if not listens(self._telemetry, span):
            settlement = await self._attempt(asset, claim, options, attempt)
            return None if attempt.is_settled else settlement

        self._telemetry.execute(f"{span}.start", {"system_time": time.time()}, facts)
        settlement = await self._attempt(asset, claim, options, attempt)
        if settlement.event not in (Event.FAILED, Event.RETRIED):
            duration = {"duration": float(settlement.duration_ms)}
            self._telemetry.execute(f"{span}.stop", duration, facts)
        return None if attempt.is_settled else settlement

    def _find(self, claim: Claim) -> Asset[..., object] | None:
        if claim.run_id is not None:
            return self._definitions.find(claim.asset)
        job = self._definitions.find_job(claim.asset)
        return None if job is None else job.body

    def abort(self, claim: Claim) -> None:
        """Tell a function that polls ``ctx.is_cancelled()`` to stop."""
        attempt = self._attempts.get(claim.id)
        if attempt is not None:
            attempt.cancellation.request()

    def wind_down(self) -> None:
        """Tell what can go on elsewhere that it should."""
        self._winding_down.request()

    def widen(self, slots: int) -> None:
        """Be ready for so many functions at once."""
        self._threads.widen(slots)

    def lingering(self, claim: Claim) -> "asyncio.Future[None] | None":
        """Return a future that is done when the claim's abandoned thread returns, if it has one."""
        return self._threads.lingering(claim.id)

    def not_storable(self, settlement: Settlement, error: FlowStoneError) -> Settlement:
        """Return the settlement that takes the place of one which the store refused."""
        refused = ValueNotStorableError(f"the store refused the result: {error}")
        failed = _failure(settlement.id, settlement.claim, refused)
        failed.duration_ms = settlement.duration_ms
        return failed

    def broken_down(self, claim: Claim, error: BaseException) -> Settlement:
        """Return the settlement of an attempt that ended outside the author's code."""
        return _failure(claim.id, claim.claim, self._normalizer.normalize(error))

    async def _attempt(
        self, asset: Asset[..., object], claim: Claim, options: AssetOptions, attempt: Attempt
    ) -> Settlement:
        self._attempts[claim.id] = attempt
        began = time.perf_counter()
        try:
            settlement = await self._in_time(asset, claim, options, attempt)
            if attempt.transaction is not None:
                settlement.duration_ms = _milliseconds_since(began)
                settlement = await attempt.transaction.settle(settlement)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # The author's code let its own cancellation escape; nobody cancelled the attempt.
            settlement = self._failed(asset, claim, error, began)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            # Also what is no Exception: a body that exits must not take its worker with it.
            settlement = self._failed(asset, claim, error, began)
        finally:
            del self._attempts[claim.id]
            if attempt.transaction is not None:
                await attempt.transaction.roll_back()
        settlement.duration_ms = _milliseconds_since(began)
        return settlement

    async def _in_time(
        self, asset: Asset[..., object], claim: Claim, options: AssetOptions, attempt: Attempt
    ) -> Settlement:
        """Load, run and store within the asset's timeout: an IO manager may hang as a body may."""
        if asset.options.timeout is None or claim.assists is not None:
            return await self._settled(asset, claim, options, attempt)
        scope = asyncio.timeout(asset.options.timeout.total_seconds())
        try:
            async with scope:
                attempt.deadline = scope
                return await self._settled(asset, claim, options, attempt)
        except TimeoutError:
            if not scope.expired():
                raise
            attempt.cancellation.request()
            raise MaterializationTimeoutError(
                asset.options.timeout,
                asset=claim.asset,
                partition=claim.partition,
                run_id=claim.run_id,
            ) from None

    async def _settled(
        self, asset: Asset[..., object], claim: Claim, options: AssetOptions, attempt: Attempt
    ) -> Settlement:
        strategy = asset.strategy or _PLAIN
        assert isinstance(strategy, Strategy), "refused when the application was built"
        if claim.assists is not None:
            outcome = await strategy.assist(attempt, json.loads(claim.arguments or "null"))
        elif claim.wake is None:
            outcome = await strategy.start(attempt)
        else:
            outcome = await strategy.resume(attempt, claim.wake)
        if isinstance(outcome, Failed):
            raise outcome.error
        return await self._settlement(asset, claim, options, outcome)

    async def _settlement(
        self,
        asset: Asset[..., object],
        claim: Claim,
        options: AssetOptions,
        outcome: Stored | Waiting | Skipped | Cancelled | Snoozed,
    ) -> Settlement:
        match outcome:
            case Stored(value) if claim.run_id is None:
                text = self._result_text(value)
                return Settlement(claim.id, claim.claim, Event.SUCCEEDED, value=text)
            case Stored(value):
                io = options.io or asset.options.io or DEFAULT_IO
                kept = await self._values.store(io, claim, value)
                return Settlement(
                    claim.id,
                    claim.claim,
                    Event.SUCCEEDED,
                    value=kept.value,
                    io=kept.io,
                    location=kept.location,
                    version=run_options.version_of(asset, options),
                )
            case Waiting(on, state, timeout, external, whom, until):
                said = tuple(map(harmless, whom))
                wait = Wait(on, self._codec.encode(state), external, said, until)
                return Settlement(claim.id, claim.claim, Event.WAITED, delay=timeout, wait=wait)
            case Skipped(reason):
                return Settlement(claim.id, claim.claim, Event.SKIPPED, error=_said(reason))
            case Cancelled(reason):
                return Settlement(claim.id, claim.claim, Event.CANCELLED, error=_said(reason))
            case Snoozed(delay):
                return Settlement(claim.id, claim.claim, Event.SNOOZED, delay=delay)

    def _result_text(self, value: object) -> str | None:
        """Return what is kept of a job's result; nothing of None."""
        if isinstance(value, Encoded):
            return None if value.text == "null" else value.text
        return None if value is None else self._codec.encode(value, max_bytes=MAX_BYTES)

    def _failed(
        self, asset: Asset[..., object], claim: Claim, raised: BaseException, began: float
    ) -> Settlement:
        error = self._normalizer.normalize(raised)
        if claim.assists is not None:
            logger.error("An assistant of %s broke down", claim.label, exc_info=raised)
            record = json.dumps(describe(error))
            return Settlement(
                claim.id, claim.claim, Event.RETRIED, error=record, delay=ASSISTANT_DELAY
            )
        if type(error) is AssetFunctionError and error is not raised:
            kind = JobFunctionError if claim.run_id is None else AssetFunctionError
            error = kind.wrapping(
                raised,
                asset=claim.asset,
                partition=claim.partition,
                run_id=claim.run_id,
                retryable=error.retryable,
            )
        retry = asset.options.retry or DEFAULT_RETRY
        # What is no Exception, such as an exit, is an end and no mishap.
        is_mishap = isinstance(raised, Exception) and retry.is_retryable(error)
        again = is_mishap and claim.attempt < retry.max_attempts
        delay = retry.delay(claim.attempt) if again else None
        self.last_error = error
        logger.log(
            logging.WARNING if again else logging.ERROR,
            "FlowStone error in %s, attempt %s: %s%s",
            claim.label,
            claim.attempt,
            error,
            f"; next attempt in {delay.total_seconds():.1f}s" if delay is not None else "",
            exc_info=raised if not isinstance(raised, FlowStoneError) else None,
        )
        span, facts = _span(claim)
        self._telemetry.execute(
            f"{span}.exception",
            {"duration": (time.perf_counter() - began) * 1000},
            {**facts, "error": error},
        )
        where = {"asset": claim.asset, "partition": claim.partition, "run_id": claim.run_id}
        self._telemetry.execute(
            "error", {"count": 1}, {"type": error.code, "retryable": error.retryable, **where}
        )
        return Settlement(
            claim.id,
            claim.claim,
            Event.RETRIED if again else Event.FAILED,
            error=json.dumps(describe(error)),
            delay=delay,
        )


def _span(claim: Claim) -> tuple[str, dict[str, object]]:
    """Return the telemetry span of an attempt, and its facts."""
    if claim.run_id is None:
        return "job", {"job": claim.asset, "job_id": claim.id, "queue": claim.queue}
    return "materialization", {
        "asset": claim.asset,
        "partition": claim.partition,
        "run_id": claim.run_id,
    }


def _failure(id_: int, claim: int, error: FlowStoneError) -> Settlement:
    return Settlement(id_, claim, Event.FAILED, error=json.dumps(describe(error)))


def _said(reason: str) -> str | None:
    return json.dumps({"message": shorten(harmless(reason), MESSAGE_BYTES)}) if reason else None


def _milliseconds_since(began: float) -> int:
    """Return how long it took; what has run for more than 24 days did so, as a row says it."""
    return min(int((time.perf_counter() - began) * 1000), LONGEST_MS)
