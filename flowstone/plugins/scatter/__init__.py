"""Fan-out: one function, called once for each of many items, and their results gathered."""

from flowstone.plugins.scatter.batches import Batch
from flowstone.plugins.scatter.batching import batch
from flowstone.plugins.scatter.definition import scatter
from flowstone.plugins.scatter.result_stream import ResultStream
from flowstone.plugins.scatter.results import (
    ItemError,
    ItemResult,
    Results,
    ResultsPage,
    Scattered,
)

__all__ = [
    "Batch",
    "ItemError",
    "ItemResult",
    "ResultStream",
    "Results",
    "ResultsPage",
    "Scattered",
    "batch",
    "scatter",
]
