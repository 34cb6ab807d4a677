"""One attempt at one item: its text decoded, the function called, what it came to encoded."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import timedelta

from flowstone.core.contracts.codec import Codec
from flowstone.core.contracts.error_normalizer import ErrorNormalizer
from flowstone.core.error_record import describe
from flowstone.core.errors import FlowStoneError, MaterializationTimeoutError
from flowstone.core.json_value import JsonText
from flowstone.core.results import Cancel, Skip, Snooze
from flowstone.core.retry import Retry
from flowstone.plugins.scatter.records import (
    ItemEvent,
    ItemOutcome,
)

MAX_RESULT_BYTES = 1024 * 1024
"""The largest result that is kept with its item; larger ones belong in an IO manager."""

_NO_VALUES = (Skip, Snooze, Cancel)


class Body:
    """
    The function of a scatter, ready to be called with one item after the other.

    Args:
        call: What `Execution.prepare` gave.
        parameter: The function's parameter for the item.
        item_type: What items are decoded to.
    """

    def __init__(
        self,
        call: Callable[..., Awaitable[object]],
        *,
        parameter: str,
        item_type: object,
        codec: Codec,
        retry: Retry,
        normalizer: ErrorNormalizer,
        asset: str,
    ) -> None:
        self._call = call
        self._parameter = parameter
        self._item_type = item_type
        self._decode = codec.decode
        self._encode = codec.encode
        self._retry = retry
        self._normalizer = normalizer
        self._asset = asset
        self.total: int | None = None
        """How many items the scatter has, once all of them are read; its pump says it."""

    async def run(self, chunk_id: int, index: int, attempts: int, item: JsonText) -> ItemOutcome:
        """
        Make one attempt; whatever the author's code does is in the outcome.

        Raises:
            CancelledError: The attempt was cancelled from outside.
        """
        try:
            argument = self.argument(index, item)
            value = await self._call(**{self._parameter: argument})
            errors = self.errors_of(argument)
            if isinstance(value, _NO_VALUES):
                return self._special(chunk_id, index, attempts, value)
            text = self._encode(value, max_bytes=MAX_RESULT_BYTES)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # The author's code let its own cancellation escape; nobody cancelled the attempt.
            return self.failed(chunk_id, index, attempts, error)
        except BaseException as error:
            # Also what is no Exception: an exit must not take the others with it.
            return self.failed(chunk_id, index, attempts, error)
        return ItemOutcome(chunk_id, index, attempts, ItemEvent.COMPLETED, text, errors=errors)

    def argument(self, index: int, item: JsonText) -> object:
        """Return what the function is given for an item."""
        return self._decode(item, self._item_type)

    def errors_of(self, argument: object) -> JsonText | None:
        """Return errors that are kept beside the result, once the function has returned."""
        return None

    def failed(
        self, chunk_id: int, index: int, attempts: int, raised: BaseException
    ) -> ItemOutcome:
        """Return what an attempt came to that raised: to be made again, or failed for good."""
        made = attempts + 1
        delay: timedelta | None = None
        error: BaseException
        try:
            error = self._normalizer.normalize(raised)
            if made < self._retry.max_attempts and self._retry.is_retryable(error):
                delay = self._retry.delay(made)
        except Exception as broken:
            # The author's own backoff or normalizer: the item fails with that.
            broken.__cause__ = raised
            error = broken
        event = ItemEvent.FAILED if delay is None else ItemEvent.RETRIED
        record = json.dumps(describe(error))
        return ItemOutcome(chunk_id, index, attempts, event, error=record, delay=delay)

    def timed_out(
        self, chunk_id: int, index: int, attempts: int, limit: timedelta | None
    ) -> ItemOutcome:
        """Return what an attempt came to that took longer than it may."""
        assert limit is not None, "there is none that was passed"
        error = MaterializationTimeoutError(limit, asset=self._asset, partition="", run_id=None)
        return self.failed(chunk_id, index, attempts, error)

    @staticmethod
    def _special(
        chunk_id: int, index: int, attempts: int, value: Skip | Snooze | Cancel
    ) -> ItemOutcome:
        match value:
            case Skip():
                return ItemOutcome(chunk_id, index, attempts, ItemEvent.COMPLETED, "null")
            case Snooze():
                return ItemOutcome(
                    chunk_id,
                    index,
                    attempts,
                    ItemEvent.RETURNED,
                    error=_said("it was snoozed"),
                    delay=value.delay,
                )
            case Cancel():
                said = _said(value.reason or "it was given up")
                return ItemOutcome(chunk_id, index, attempts, ItemEvent.FAILED, error=said)


def _said(message: str) -> JsonText:
    return json.dumps(describe(FlowStoneError(message), with_traceback=False))
