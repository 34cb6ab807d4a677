"""One attempt at one batch: its items decoded, the function called, errors of its items kept."""

import json
import time
import types
import typing
from collections.abc import Awaitable, Callable, Mapping

from flowstone.core.contracts.codec import Codec
from flowstone.core.contracts.error_normalizer import ErrorNormalizer
from flowstone.core.contracts.telemetry_emitter import TelemetryEmitter
from flowstone.core.json_value import JsonText
from flowstone.core.retry import Retry
from flowstone.core.telemetry import listens
from flowstone.plugins.scatter.batches import Batch
from flowstone.plugins.scatter.body import Body
from flowstone.plugins.scatter.records import ItemEvent, ItemOutcome

STARTED = "scatter.batch_start"
_ENDED = {
    ItemEvent.COMPLETED: "scatter.batch_complete",
    ItemEvent.FAILED: "scatter.batch_fail",
    ItemEvent.RETRIED: "scatter.batch_fail",
    ItemEvent.RETURNED: "scatter.batch_fail",
}


class BatchTypes(typing.NamedTuple):
    """What a batch's items, and what all batches share, are decoded to."""

    item: object
    input: object

    @classmethod
    def of(cls, annotation: object) -> "BatchTypes":
        """Return what a parameter's annotation says: of ``Batch[DocKey, Shared]`` both."""
        if typing.get_origin(annotation) is not Batch:
            return cls(object, object)
        return cls(*typing.get_args(annotation))

    @property
    def items(self) -> object:
        """What all items of a batch together are decoded to."""
        return list if self.item is object else types.GenericAlias(list, (self.item,))

    @staticmethod
    def objection(annotation: object) -> str | None:
        """Say what is wrong with a parameter's annotation, or None."""
        if annotation in (object, Batch) or typing.get_origin(annotation) is Batch:
            return None
        return "is given batches: annotate it Batch[Item, Input]"


class BatchBody(Body):
    """The function of a batched scatter, ready to be called with one batch after the other."""

    def __init__(
        self,
        call: Callable[..., Awaitable[object]],
        *,
        parameter: str,
        batch_types: BatchTypes,
        input: JsonText | None,
        collects_errors: bool,
        codec: Codec,
        retry: Retry,
        normalizer: ErrorNormalizer,
        telemetry: TelemetryEmitter,
        facts: Mapping[str, object],
    ) -> None:
        super().__init__(
            call,
            parameter=parameter,
            item_type=batch_types.items,
            codec=codec,
            retry=retry,
            normalizer=normalizer,
            asset=str(facts["asset"]),
        )
        self._input = None if input is None else codec.decode(input, batch_types.input)
        self._collects_errors = collects_errors
        self._telemetry = telemetry
        self._facts = facts
        self._is_told = any(listens(telemetry, it) for it in (STARTED, *_ENDED.values()))

    async def run(self, chunk_id: int, index: int, attempts: int, item: JsonText) -> ItemOutcome:
        if not self._is_told:
            return await super().run(chunk_id, index, attempts, item)
        facts = {**self._facts, "batch_index": index}
        item_count = float(len(json.loads(item)))
        self._telemetry.execute(STARTED, {"item_count": item_count}, facts)
        began = time.perf_counter()
        outcome = await super().run(chunk_id, index, attempts, item)
        measured = {
            "duration": (time.perf_counter() - began) * 1000,
            "item_count": item_count,
        }
        if outcome.error is not None:
            facts["error"] = outcome.error
        self._telemetry.execute(_ENDED[outcome.event], measured, facts)
        return outcome

    def argument(self, index: int, item: JsonText) -> Batch[object, object]:
        items = super().argument(index, item)
        assert isinstance(items, list), "it is decoded as one"
        return Batch(
            items,
            self._input,
            index=index,
            count=self.total,
            collects_errors=self._collects_errors,
        )

    def errors_of(self, argument: object) -> JsonText | None:
        """
        Return the errors of the batch's items.

        Raises:
            ItemFailedError: Every item failed, and so has the batch.
        """
        assert isinstance(argument, Batch)
        if not argument.errors:
            return None
        argument.require_one()
        return json.dumps(argument.error_records())
