"""What can go wrong with a scatter."""

from collections.abc import Mapping

from flowstone.core.errors import FlowStoneError


class BarrierNotFoundError(FlowStoneError):
    """
    There is no barrier of this id.

    Attributes:
        barrier_id: The id: that of the materialization which waits for it.
    """

    code = "not_found"

    def __init__(self, barrier_id: int) -> None:
        self.barrier_id = barrier_id
        super().__init__(
            f"there is no scatter {barrier_id}; it may have been pruned",
            context={"barrier_id": barrier_id},
        )


class ItemNotFoundError(FlowStoneError):
    """
    A barrier has no item of this key.

    Attributes:
        barrier_id: The barrier.
        key: The key, as JSON text.
    """

    code = "item_not_found"

    def __init__(self, barrier_id: int, key: str) -> None:
        self.barrier_id = barrier_id
        self.key = key
        super().__init__(f"barrier {barrier_id} has no item with the key {key}")


class InvalidItemKeyError(FlowStoneError):
    """An item's key is nothing that can be stored and compared."""

    code = "invalid_scatter_key"


class ThresholdExceededError(FlowStoneError):
    """
    More items failed than the scatter tolerates.

    Attributes:
        failed: How many failed, of ``total``.
    """

    code = "threshold_exceeded"

    def __init__(
        self, failed: int, total: int, tolerated: str, sample: Mapping[str, object] | None = None
    ) -> None:
        self.failed = failed
        self.total = total
        first = f"; the first: {sample['message']}" if sample and "message" in sample else ""
        super().__init__(
            f"{failed} of {total} items failed, {tolerated}{first}",
            context={"failed": failed, "total": total, "first_error": dict(sample or {})},
        )


class ReadingFailedError(FlowStoneError):
    """The items of a scatter could not be read to their end."""

    code = "execution_error"


class WorkingFailedError(FlowStoneError):
    """What a scatter's function is given could not be had, or what it returned not be stored."""

    code = "execution_error"
