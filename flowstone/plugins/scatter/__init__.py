"""Fan-out: one function, called once for each of many items, and their results gathered."""

from flowstone.plugins.scatter.definition import scatter
from flowstone.plugins.scatter.results import ItemError, ItemResult, Results, Scattered

__all__ = ["ItemError", "ItemResult", "Results", "Scattered", "scatter"]
