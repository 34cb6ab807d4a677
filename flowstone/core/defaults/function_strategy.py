"""The plain kind of asset: its function is called, and what it returns is the value."""

from flowstone.core.contracts.strategy import Execution, Strategy
from flowstone.core.outcome import Cancelled, Outcome, Skipped, Snoozed, Stored, Wake
from flowstone.core.results import Cancel, Skip, Snooze


class FunctionStrategy(Strategy):
    """Calls the function once; never waits."""

    async def start(self, execution: Execution) -> Outcome:
        return outcome_of(await execution.call())

    async def resume(self, execution: Execution, wake: Wake) -> Outcome:
        # Reached only when an asset lost its strategy between two versions of the code.
        return await self.start(execution)


def outcome_of(result: object) -> Outcome:
    """Return what a function's result means; all but `Skip`, `Snooze` and `Cancel` is a value."""
    match result:
        case Skip(reason):
            return Skipped(reason)
        case Snooze(delay):
            return Snoozed(delay)
        case Cancel(reason):
            return Cancelled(reason)
        case _:
            return Stored(result)
