"""The events of scatters; the facts of a barrier are its id, its asset and its run."""

from collections.abc import Mapping

from flowstone.core.contracts.strategy import Execution
from flowstone.core.telemetry_catalogue import EventSpec

BARRIER = ("barrier_id", "asset", "run_id")

EVENTS = (
    EventSpec("scatter.start", (), BARRIER, "A scatter was begun"),
    EventSpec("scatter.insert", ("count", "total"), BARRIER, "A page of items was inserted"),
    EventSpec("scatter.complete", ("completed", "failed"), BARRIER, "A scatter has its results"),
    EventSpec("scatter.failed", ("completed", "failed"), BARRIER, "A scatter failed"),
    EventSpec("scatter.cancel", (), BARRIER, "A scatter was cancelled, as its pump has seen"),
    EventSpec("scatter.gather_ready", (), BARRIER, "The results of a scatter are gathered now"),
    EventSpec("scatter.batch_create", ("batch_count",), BARRIER, "Batches were inserted"),
    EventSpec(
        "scatter.batch_start", ("item_count",), (*BARRIER, "batch_index"), "A batch is begun"
    ),
    EventSpec(
        "scatter.batch_complete",
        ("duration", "item_count"),
        (*BARRIER, "batch_index"),
        "A batch was run, and has a result",
    ),
    EventSpec(
        "scatter.batch_fail",
        ("duration", "item_count"),
        (*BARRIER, "batch_index", "error"),
        "An attempt at a batch failed",
    ),
    EventSpec(
        "scatter.instance_complete", (), (*BARRIER, "index"), "An item was run, and has a result"
    ),
    EventSpec("scatter.instance_fail", (), (*BARRIER, "index", "error"), "An item failed for good"),
    EventSpec(
        "scatter.instance_error",
        (),
        (*BARRIER, "index", "error"),
        "An attempt at an item failed, and is to be made again",
    ),
)


def facts_of(execution: Execution) -> Mapping[str, object]:
    """Return the facts of the barrier that an execution belongs to."""
    return {
        "barrier_id": execution.materialization_id,
        "asset": execution.asset.full_name,
        "run_id": execution.run_id,
    }
