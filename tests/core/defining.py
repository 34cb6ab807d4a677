"""Definitions to complain about, and the complaints."""

from flowstone.core.contracts.strategy import Execution, Strategy
from flowstone.core.definitions import check
from flowstone.core.outcome import Outcome, Stored, Wake
from flowstone.core.pipeline import Pipeline


class Shop:
    pass


class Immediate(Strategy):
    async def start(self, execution: Execution) -> Outcome:
        return Stored(await execution.call())

    async def resume(self, execution: Execution, wake: Wake) -> Outcome:
        return Stored(wake.payload)


def told(*pipelines: Pipeline, types: bool = False) -> str:
    """Return what is wrong, without the places."""
    problems = check(pipelines, types=types)
    return "\n".join(str(it).removeprefix(it.where or "").lstrip() for it in problems)
