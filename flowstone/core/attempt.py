"""One attempt at one asset: its inputs loaded, its functions called with them."""

import asyncio
import inspect
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import TypeVar

from flowstone.core import attempt_awaiting as awaiting
from flowstone.core.application_limits import ApplicationLimits
from flowstone.core.asset import Asset
from flowstone.core.attempt_context import Cancellation, TransactionGiver
from flowstone.core.attempt_transaction import AttemptTransaction
from flowstone.core.chosen_io import DEFAULT_IO
from flowstone.core.context import Context
from flowstone.core.contracts.awaiting import Awaited
from flowstone.core.contracts.codec import Codec
from flowstone.core.contracts.coordinator import Coordinator
from flowstone.core.contracts.error_normalizer import ErrorNormalizer
from flowstone.core.contracts.item_pages import ItemPages
from flowstone.core.contracts.item_source import ItemSource
from flowstone.core.contracts.store import Claim, Store, StoredInput
from flowstone.core.contracts.telemetry_emitter import TelemetryEmitter
from flowstone.core.coordinators import Coordinators
from flowstone.core.error_record import read_record
from flowstone.core.errors import DependencyNotReadyError, TransactionError
from flowstone.core.item_reading import ItemReading
from flowstone.core.job_arguments import arguments_of
from flowstone.core.job_context import JobContext
from flowstone.core.json_value import JsonValue
from flowstone.core.parameters import Argument, Input
from flowstone.core.prepared_calls import given, refuse_transaction
from flowstone.core.processes.call import Call, Crossing, Encoded, Facts
from flowstone.core.processes.processes import Processes
from flowstone.core.resources import Resources
from flowstone.core.results import Cancel, Skip
from flowstone.core.run_options import AssetOptions
from flowstone.core.signature import Signature
from flowstone.core.source import Upstream
from flowstone.core.status import Status
from flowstone.core.threads import Threads
from flowstone.core.values import Values
from flowstone.core.worker_transactions import WorkerTransactions

C = TypeVar("C", bound=Coordinator)
Item = TypeVar("Item")


class Attempt:
    """
    What a strategy is given; see `flowstone.core.contracts.strategy.Execution`.

    Inputs are loaded when the first function that wants them is called.
    """

    __slots__ = (
        "_aliases",
        "_claim",
        "_coordinators",
        "_inputs",
        "_limits",
        "_options",
        "_processes",
        "_reading",
        "_resources",
        "_store",
        "_threads",
        "_transactions",
        "_values",
        "_winding_down",
        "asset",
        "cancellation",
        "codec",
        "deadline",
        "normalizer",
        "telemetry",
        "transaction",
    )

    def __init__(
        self,
        asset: Asset[..., object],
        claim: Claim,
        options: AssetOptions,
        *,
        aliases: Mapping[str, str],
        codec: Codec,
        store: Store,
        values: Values,
        resources: Resources,
        threads: Threads,
        processes: Processes | None,
        transactions: WorkerTransactions,
        limits: ApplicationLimits,
        telemetry: TelemetryEmitter,
        normalizer: ErrorNormalizer,
        winding_down: Cancellation,
        coordinators: Coordinators,
        reading: ItemReading,
    ) -> None:
        self.asset = asset
        self.codec = codec
        self.telemetry = telemetry
        self.normalizer = normalizer
        self._winding_down = winding_down
        self.cancellation = Cancellation()
        self.deadline: asyncio.Timeout | None = None
        self.transaction: AttemptTransaction | None = None
        self._aliases = aliases
        self._claim = claim
        self._coordinators = coordinators
        self._options = options
        self._reading = reading
        self._store = store
        self._values = values
        self._resources = resources
        self._threads = threads
        self._processes = processes
        self._transactions = transactions
        self._limits = limits
        self._inputs: dict[str, StoredInput] | None = None

    @property
    def run_id(self) -> int:
        assert self._claim.run_id is not None, "only a job has none, and a job no strategy"
        return self._claim.run_id

    @property
    def materialization_id(self) -> int:
        return self._claim.assists or self._claim.id

    @property
    def assistant_id(self) -> int | None:
        return None if self._claim.assists is None else self._claim.id

    @property
    def partition(self) -> str:
        return self._claim.partition

    @property
    def attempt(self) -> int:
        return self._claim.attempt

    @property
    def is_wanted_back(self) -> bool:
        return self._winding_down.is_requested

    @property
    def claim(self) -> int:
        return self._claim.claim

    def coordinator(self, contract: Callable[..., C]) -> C:
        return self._coordinators.get(contract)

    async def call(self, **supplied: object) -> object:
        supplied |= self._own_arguments()
        if self.asset.options.executor == "process":
            return await self._call_in_process(supplied)
        return await self._call(self.asset.signature, supplied)

    @property
    def is_settled(self) -> bool:
        """Whether it was settled together with what its function wrote."""
        return self.transaction is not None and self.transaction.is_settled

    async def call_phase(self, phase: str, **supplied: object) -> object:
        return await self._call(self.asset.phase_signatures[phase], supplied)

    @asynccontextmanager
    async def read_items(
        self,
        source: ItemSource[Item] | Iterable[Item] | AsyncIterable[Item],
        *,
        phase: str = "items",
        progress: Mapping[str, JsonValue] | None = None,
        page_size: int | None = None,
    ) -> AsyncIterator[ItemPages[Item]]:
        deps: dict[str, object] = {}
        if isinstance(source, ItemSource):
            signature = self.asset.phase_signatures[phase]
            for argument in signature.arguments:
                deps[argument.parameter] = await self._resolve(argument)
            self._add_resources(signature, deps)
        async with self._reading.open(
            source,
            deps=deps,
            progress=progress,
            page_size=page_size,
            asset=self.asset.full_name,
            run_id=self._claim.run_id,
        ) as pages:
            yield pages

    def _own_arguments(self) -> Mapping[str, object]:
        text = self._claim.arguments
        if text is None or self._claim.assists is not None:
            return {}
        return arguments_of(self.asset).decode(text, self.codec)

    async def awaited(self) -> Sequence[Awaited]:
        return await awaiting.seen_by(self._claim, self._store, self._aliases)

    async def give_up(self, materialization_ids: Sequence[int], reason: str) -> int:
        return await awaiting.give_up(self._claim, self._store, materialization_ids, reason)

    async def prepare(self) -> Callable[..., Awaitable[object]]:
        signature, fixed = self.asset.signature, dict[str, object]()
        if self.asset.options.executor == "process":
            return self._call_prepared_in_process
        skip = await self._fill(signature, fixed, refuse_transaction)
        if skip is not None:
            return partial(given, skip)
        if signature.is_async:
            # Called as `_call` would, but with nothing to wait for before the function's own code.
            return lambda **more: signature.call({**fixed, **more})  # type: ignore[return-value]
        return partial(self._call_in_thread, signature, fixed)

    async def _call_prepared_in_process(self, **supplied: object) -> object:
        return await self._call_in_process(supplied)

    async def _call_in_thread(
        self, signature: Signature, fixed: Mapping[str, object], **supplied: object
    ) -> object:
        call = partial(signature.call, {**fixed, **supplied})
        result = await self._threads.run(self._claim.id, call)
        return await result if inspect.isawaitable(result) else result

    async def _call(self, signature: Signature, arguments: dict[str, object]) -> object:
        skip = await self._fill(signature, arguments, self._begin_transaction)
        if skip is not None:
            return skip
        if signature.is_async:
            return await signature.call(arguments)  # type: ignore[misc]  # a coroutine function's
        return await self._call_in_thread(signature, arguments)

    async def _fill(
        self, signature: Signature, arguments: dict[str, object], transactions: TransactionGiver
    ) -> Skip | Cancel | None:
        """Add what sources, resources and the attempt give; a source may say to skip instead."""
        for argument in signature.arguments:
            if argument.parameter in arguments:
                continue
            value = await self._resolve(argument)
            if isinstance(value, Skip | Cancel):
                return value
            arguments[argument.parameter] = value
        self._add_resources(signature, arguments)
        if signature.context_parameter is not None:
            arguments[signature.context_parameter] = self._context(signature, transactions)
        if signature.config_parameter is not None and signature.config_type is not None:
            arguments[signature.config_parameter] = signature.config_type.parse(
                self._options.config, self.codec, asset=self.asset.full_name
            )
        return None

    def _add_resources(self, signature: Signature, arguments: dict[str, object]) -> None:
        for requirement in signature.requirements:
            arguments[requirement.parameter] = self._resources.get(requirement.type)

    async def _call_in_process(self, supplied: Mapping[str, object]) -> object:
        assert self._processes is not None, "an application with such assets has them"
        inputs = [
            crossing
            for argument in self.asset.signature.arguments
            if argument.parameter not in supplied
            for crossing in await self._cross(argument)
        ]
        is_plain = self.asset.strategy is None
        io = self._options.io or self.asset.options.io or DEFAULT_IO
        facts = Facts(
            asset=self.asset.full_name,
            partition=self._claim.partition,
            run_id=self._claim.run_id,
            materialization_id=self.materialization_id,
            attempt=self._claim.attempt,
            queue=self._claim.queue,
            config=self._options.config,
            max_bytes=self._values.max_bytes(io) if is_plain else None,
        )
        given = {name: self.codec.encode(value) for name, value in supplied.items()}
        call = Call(facts, inputs, given)
        returned = await self._processes.call(self.asset, call, self.deadline)
        if isinstance(returned, Encoded) and not is_plain:
            return self.codec.decode(returned.text, returned.annotation)
        return returned

    async def _cross(self, argument: Argument) -> Sequence[Crossing]:
        async def text(source: StoredInput, annotation: object) -> object:
            return await self._values.text(source, self._claim.partition, annotation)

        upstreams = await self._upstreams(argument, text)
        return [
            Crossing(it.asset, it.status, None if it.value is None else str(it.value))
            for it in upstreams
        ]

    async def _resolve(self, argument: Argument) -> object:
        async def value(source: StoredInput, annotation: object) -> object:
            return await self._values.load(source, self._claim.partition, annotation)

        return argument.source.resolve(await self._upstreams(argument, value))

    async def _upstreams(
        self, argument: Argument, load: Callable[[StoredInput, object], Awaitable[object]]
    ) -> Sequence[Upstream]:
        upstreams = []
        for wanted in argument.inputs:
            source = await self._source(wanted)
            if source is None:
                upstreams.append(Upstream(wanted.upstream, None, Status.FAILED))
            else:
                value = await load(source, wanted.annotation)
                upstreams.append(Upstream(wanted.upstream, value))
        if not argument.source.asks_why(upstreams):
            return upstreams
        now = self._aliases.get
        ended = {
            now(it.key.asset, it.key.asset): it for it in await self._store.followed(self._claim.id)
        }
        return [it if it.has_value else _ended(it.asset, ended) for it in upstreams]

    async def _source(self, wanted: Input) -> StoredInput | None:
        """Return where an input is; None for an optional one that has no value."""
        inputs = self._inputs
        if inputs is None:
            now = self._aliases.get
            inputs = self._inputs = {now(it.asset, it.asset): it for it in self._claim.inputs}
            await self._values.bring(self._claim.inputs)
        source = inputs.get(wanted.upstream)
        if source is None and not wanted.optional:
            # The run was planned by code that did not have this edge.
            raise DependencyNotReadyError(
                [wanted.upstream],
                asset=self.asset.full_name,
                partition=self._claim.partition,
                run_id=self._claim.run_id,
            )
        return source

    def _context(
        self, signature: Signature, transactions: TransactionGiver
    ) -> Context[object] | JobContext:
        if self._claim.run_id is None:
            return JobContext(
                job=self.asset.full_name,
                job_id=self._claim.id,
                queue=self._claim.queue,
                attempt=self._claim.attempt,
                resources=self._resources.get,
                cancellation=self.cancellation,
                transactions=transactions,
                limits=self._hold_limit,
            )
        return Context(
            asset=self.asset.full_name,
            partition=signature.partition_of(self._claim.partition),
            run_id=self._claim.run_id,
            materialization_id=self.materialization_id,
            attempt=self._claim.attempt,
            resources=self._resources.get,
            cancellation=self.cancellation,
            transactions=transactions,
            limits=self._hold_limit,
        )

    def _hold_limit(
        self, name: str, max_wait: timedelta | str | float | None
    ) -> AbstractAsyncContextManager[None]:
        return self._limits.held(name, (self._claim.id, self._claim.claim), max_wait)

    def _begin_transaction(self, driver: str) -> AbstractAsyncContextManager[object]:
        if self.transaction is not None:
            raise TransactionError(
                "this attempt has had its transaction, and there is one per attempt",
                "write everything in one block; parts that may fail alone go into savepoints, "
                "`async with conn.transaction():`",
            )
        transaction = AttemptTransaction(self._transactions)
        block = transaction.block(driver)
        self.transaction = transaction
        return block


def _ended(asset: str, known: Mapping[str, Awaited]) -> Upstream:
    """Return how an upstream without a value ended; one that is not there was left out."""
    found = known.get(asset)
    if found is None:
        return Upstream(asset, None, Status.SKIPPED)
    return Upstream(asset, None, found.status, read_record(found.error))
