"""What a parallel asset tells telemetry."""

import time
from collections.abc import Mapping

from flowstone.core.contracts.strategy import Execution
from flowstone.core.error_record import read_record
from flowstone.core.telemetry_catalogue import EventSpec
from flowstone.plugins.parallel.execution import BranchResult, BranchStatus, ParallelStatus

_IDENTITY = ("asset", "run_id", "partition", "execution_id")
_BRANCH = (*_IDENTITY, "branch", "final_asset")

EVENTS = (
    EventSpec("parallel.start", ("system_time",), _IDENTITY, "A parallel asset begins"),
    EventSpec("parallel.stop", ("duration",), _IDENTITY, "Its join was called, and returned"),
    EventSpec("parallel.error", (), (*_IDENTITY, "error"), "Its branches or its join failed"),
    EventSpec("parallel.branch_start", (), _BRANCH, "A branch may begin"),
    EventSpec("parallel.branch_complete", (), (*_BRANCH, "status"), "A branch ended well"),
    EventSpec("parallel.branch_fail", (), (*_BRANCH, "error"), "A branch failed, or is late"),
)


class Teller:
    """Tells what happens in one attempt; made anew for each thing that is told."""

    def __init__(self, execution: Execution) -> None:
        self._telemetry = execution.telemetry
        self._facts: Mapping[str, object] = {
            "asset": execution.asset.full_name,
            "run_id": execution.run_id,
            "partition": execution.partition,
            "execution_id": execution.materialization_id,
        }

    def began(self, status: ParallelStatus) -> None:
        """Tell that the branches may begin."""
        self._telemetry.execute("parallel.start", {"system_time": time.time()}, self._facts)
        for name, branch in status.branches.items():
            facts = {**self._facts, "branch": name, "final_asset": branch.plan.asset}
            self._telemetry.execute("parallel.branch_start", {}, facts)

    def settled(self, status: ParallelStatus, results: Mapping[str, BranchResult]) -> None:
        """Tell how branches have ended."""
        for name, result in results.items():
            final = status.branches[name].plan.asset
            facts = {**self._facts, "branch": name, "final_asset": final}
            if result.status is BranchStatus.FAILED:
                error = read_record(result.error).get("message", "")
                self._telemetry.execute("parallel.branch_fail", {}, {**facts, "error": error})
            else:
                said = {**facts, "status": result.status.value}
                self._telemetry.execute("parallel.branch_complete", {}, said)

    def joined(self, milliseconds: float) -> None:
        """Tell that the join is done, and how long it took."""
        self._telemetry.execute("parallel.stop", {"duration": milliseconds}, self._facts)

    def failed(self, error: BaseException) -> None:
        """Tell that the branches or the join failed."""
        self._telemetry.execute("parallel.error", {}, {**self._facts, "error": error})
