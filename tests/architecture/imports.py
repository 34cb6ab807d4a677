"""What a fresh interpreter loads, and how long that takes."""

import sys
from collections.abc import Callable

from tests.architecture.sources import python

TRIES = 20
ASYNCIO_MS = 36.0
"""What ``import asyncio`` takes on a machine like the one that the limits were set on, at rest."""


def loaded_by(*arguments: str) -> set[str]:
    """Return the names of the modules that a command loads beyond a bare interpreter's."""
    return _module_names(*arguments) - _module_names("-c", "")


def third_party(modules: set[str]) -> set[str]:
    """Return the distributions' packages among the modules, ours included."""
    return {name.partition(".")[0] for name in modules} - sys.stdlib_module_names


def import_ms(statement: str) -> float:
    """Return how long a fresh interpreter takes for an import statement."""
    clock = "import time; begun = time.perf_counter()"
    answer = "print((time.perf_counter() - begun) * 1000)"
    return float(python("-c", f"{clock}; {statement}; {answer}").stdout)


def is_quick(measure: Callable[[], float], limit_ms: float) -> bool:
    """
    Say whether something takes no longer than its limit, on a machine at rest.

    Other work on the machine only ever adds time: one try within the limit is enough, and a
    machine that is slow at importing asyncio, too, is given as much more.
    """
    asyncio_ms = float("inf")
    least_ms = float("inf")
    for _ in range(TRIES):
        asyncio_ms = min(asyncio_ms, import_ms("import asyncio"))
        least_ms = min(least_ms, measure())
        if least_ms <= limit_ms * max(1.0, asyncio_ms / ASYNCIO_MS):
            return True
    return False


def _module_names(*arguments: str) -> set[str]:
    traced = python("-v", *arguments).stderr.splitlines()
    return {line.split()[1].strip("'") for line in traced if line.startswith("import ")}
