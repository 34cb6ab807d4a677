"""What ends a scatter without results, and what is told of it."""

import json
import logging
from collections.abc import Mapping

from flowstone.core.contracts.strategy import Execution
from flowstone.core.error_record import describe
from flowstone.core.errors import DatabaseError
from flowstone.core.json_value import JsonText
from flowstone.plugins.scatter.coordinator import ScatterCoordinator
from flowstone.plugins.scatter.errors import (
    ReadingFailedError,
    ThresholdExceededError,
    WorkingFailedError,
)
from flowstone.plugins.scatter.records import BarrierState, BarrierStatus, ItemStatus

logger = logging.getLogger("flowstone.scatter")

MOST_ATTEMPTS = 5
"""How often a step is tried after errors that may pass."""

READING, PREPARING, SETTLING = "read", "prepare", "settle"

_STOPPED = {
    READING: "its items could not be read",
    PREPARING: "its function could not be prepared",
    SETTLING: "what its items came to could not be stored",
}


async def end_with(
    execution: Execution, coordinator: ScatterCoordinator, raised: BaseException, step: str
) -> None:
    """End the barrier with what stopped a step; what may pass is raised again, a few times."""
    if isinstance(raised, DatabaseError) and raised.retryable:
        raise raised
    error = execution.normalizer.normalize(raised)
    if error.may_pass and execution.attempt < MOST_ATTEMPTS:
        raise raised
    logger.error("%s: %s", execution.asset.full_name, _STOPPED[step], exc_info=raised)
    record = json.dumps({**describe(error), "step": step})
    await coordinator.end(execution.materialization_id, BarrierState.FAILED, error=record)


async def failure_of(
    coordinator: ScatterCoordinator, status: BarrierStatus
) -> ThresholdExceededError | ReadingFailedError | WorkingFailedError:
    """Return what a barrier that failed has failed with."""
    if status.error is not None:
        stored = json.loads(status.error)
        reason = stored.get("message", status.error)
        step = stored.pop("step", READING)
        kind = ReadingFailedError if step == READING else WorkingFailedError
        return kind(f"{_STOPPED[step]}: {reason}", context=stored)
    first = await coordinator.gather(status.id, limit=1, statuses=(ItemStatus.FAILED,))
    sample: Mapping[str, object] | None = None
    if first and first[0].error is not None:
        sample = _described(first[0].error)
    return ThresholdExceededError(status.failed, status.total, status.options.tolerated, sample)


def _described(text: JsonText) -> Mapping[str, object]:
    stored = json.loads(text)
    return stored if isinstance(stored, dict) else {"message": str(stored)}
