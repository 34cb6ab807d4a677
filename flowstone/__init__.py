"""
Produce data reliably from Python with nothing but Postgres.

Define assets, run `flowstone worker`, enqueue inside your own transactions, and read the state of
every run in SQL. Without Postgres the same pipelines run in memory.
"""

from flowstone.core.application import FlowStone
from flowstone.core.asset import Asset, Definition
from flowstone.core.config import Config
from flowstone.core.context import Context
from flowstone.core.dependency import Dep, Requires
from flowstone.core.errors import FlowStoneError, RunFailedError, RunWaiting
from flowstone.core.handle import RunHandle
from flowstone.core.pipeline import Pipeline
from flowstone.core.results import Cancel, Skip, Snooze
from flowstone.core.retry import Retry
from flowstone.core.run_sync import run_sync

__all__ = [
    "Asset",
    "Cancel",
    "Config",
    "Context",
    "Definition",
    "Dep",
    "FlowStone",
    "FlowStoneError",
    "Pipeline",
    "Requires",
    "Retry",
    "RunFailedError",
    "RunHandle",
    "RunWaiting",
    "Skip",
    "Snooze",
    "run_sync",
]

__version__ = "0.1.0"
