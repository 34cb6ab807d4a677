"""What a fresh interpreter imports, and how long that takes."""

from collections.abc import Callable

from tests.architecture.sources import python


def loaded_by(*arguments: str) -> dict[str, float]:
    """Return milliseconds, its own imports included, by the name of each module loaded."""
    bare = _import_times("-c", "")
    return {name: ms for name, ms in _import_times(*arguments).items() if name not in bare}


def quickest(measure: Callable[[], float], *, limit: float, tries: int = 20) -> float:
    """
    Return the least of several measurements; stop at the first within the limit.

    Other work on the machine only ever adds time, so the least is the nearest to the truth.
    """
    least = float("inf")
    for _ in range(tries):
        least = min(least, measure())
        if least <= limit:
            break
    return least


def _import_times(*arguments: str) -> dict[str, float]:
    times = {}
    for line in python("-X", "importtime", *arguments).stderr.splitlines():
        own, _, rest = line.partition("|")
        cumulative, _, name = rest.partition("|")
        if own.startswith("import time:") and cumulative.strip().isdecimal():
            times[name.strip()] = int(cumulative) / 1000
    return times
