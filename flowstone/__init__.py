"""
Produce data reliably from Python with nothing but Postgres.

Define assets, run `flowstone worker`, enqueue inside your own transactions, and read the state of
every run in SQL. Without Postgres the same pipelines run in memory.

Names are imported when they are first used: a module that only defines assets loads no engine.
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING

if _TYPE_CHECKING:
    from flowstone.core.application import FlowStone
    from flowstone.core.asset import Asset, Definition
    from flowstone.core.config import Config
    from flowstone.core.context import Context
    from flowstone.core.contracts.item_source import reader
    from flowstone.core.dependency import Dep, Requires
    from flowstone.core.errors import FlowStoneError, RunFailedError, RunWaiting
    from flowstone.core.handle import RunHandle
    from flowstone.core.job import Job, JobCall
    from flowstone.core.job_context import JobContext
    from flowstone.core.job_handle import JobHandle
    from flowstone.core.limit import Limit
    from flowstone.core.pipeline import Pipeline
    from flowstone.core.queue import Queue
    from flowstone.core.rate import Rate
    from flowstone.core.results import Cancel, Skip, Snooze
    from flowstone.core.retention import Retention
    from flowstone.core.retry import Retry
    from flowstone.core.run_sync import run_sync
    from flowstone.core.unique import Unique

__all__ = [
    "Asset",
    "Cancel",
    "Config",
    "Context",
    "Definition",
    "Dep",
    "FlowStone",
    "FlowStoneError",
    "Job",
    "JobCall",
    "JobContext",
    "JobHandle",
    "Limit",
    "Pipeline",
    "Queue",
    "Rate",
    "Requires",
    "Retention",
    "Retry",
    "RunFailedError",
    "RunHandle",
    "RunWaiting",
    "Skip",
    "Snooze",
    "Unique",
    "reader",
    "run_sync",
]

__version__ = "0.1.0"

_HOMES = {
    "Asset": "asset",
    "Cancel": "results",
    "Config": "config",
    "Context": "context",
    "Definition": "asset",
    "Dep": "dependency",
    "FlowStone": "application",
    "FlowStoneError": "errors",
    "Job": "job",
    "JobCall": "job",
    "JobContext": "job_context",
    "JobHandle": "job_handle",
    "Limit": "limit",
    "Pipeline": "pipeline",
    "Queue": "queue",
    "Rate": "rate",
    "Requires": "dependency",
    "Retention": "retention",
    "Retry": "retry",
    "RunFailedError": "errors",
    "RunHandle": "handle",
    "RunWaiting": "errors",
    "Skip": "results",
    "Snooze": "results",
    "Unique": "unique",
    "reader": "contracts.item_source",
    "run_sync": "run_sync",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'flowstone' has no attribute '{name}'")
    value: object = getattr(_import_module(f"flowstone.core.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
