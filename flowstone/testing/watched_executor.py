"""An executor that keeps what became of each attempt, for whoever runs it in a test."""

from collections import Counter
from collections.abc import Callable
from functools import cached_property

from flowstone.core.asset import Asset
from flowstone.core.attempt import Attempt
from flowstone.core.contracts.store import Claim, Settlement
from flowstone.core.executor import Executor
from flowstone.core.run_options import AssetOptions
from flowstone.core.status import Event
from flowstone.core.worker_transactions import WorkerTransactions


class WatchedExecutor(Executor):
    """
    Runs attempts as a worker's does.

    Attributes:
        limit: How many attempts it runs; what comes beyond goes back as it was.
        at_limit: Called when the last of these begins.
        last: What became of the attempt that has ended last.
    """

    limit: int | None = None
    at_limit: Callable[[], None] | None = None
    last: Settlement | None = None

    @cached_property
    def outcomes(self) -> Counter[Event]:
        """How many attempts became what."""
        return Counter()

    @cached_property
    def raised(self) -> list[BaseException]:
        """What attempts raised, before it was made an error of ours; the first one first."""
        return []

    @cached_property
    def begun(self) -> list[Claim]:
        """What was begun, in order."""
        return []

    @cached_property
    def unknown(self) -> Counter[str]:
        """The names of what was handed back as nobody here knows it, and how often it was."""
        return Counter()

    async def execute(self, claim: Claim, transactions: WorkerTransactions) -> Settlement | None:
        """Run one attempt; see `Executor.execute`."""
        if self.limit is not None and len(self.begun) >= self.limit:
            return Settlement(claim.id, claim.claim, Event.HANDED_BACK)
        self.begun.append(claim)
        if len(self.begun) == self.limit and self.at_limit is not None:
            self.at_limit()
        if self._find(claim) is None:
            self.unknown[claim.asset] += 1
        return await super().execute(claim, transactions)

    async def _attempt(
        self, asset: Asset[..., object], claim: Claim, options: AssetOptions, attempt: Attempt
    ) -> Settlement:
        self.last = await super()._attempt(asset, claim, options, attempt)
        self.outcomes[self.last.event] += 1
        return self.last

    def _failed(
        self, asset: Asset[..., object], claim: Claim, raised: BaseException, began: float
    ) -> Settlement:
        self.raised.append(raised)
        return super()._failed(asset, claim, raised, began)
