"""Errors of parallel assets."""

from collections.abc import Iterable

from flowstone.core.errors import FlowStoneError, MaterializationError
from flowstone.core.suggestion import suggest


class ExecutionNotFoundError(FlowStoneError):
    """
    There is no such execution, or it was pruned.

    Attributes:
        execution_id: The id that was looked for.
    """

    code = "execution_not_found"

    def __init__(self, execution_id: int) -> None:
        self.execution_id = execution_id
        super().__init__(
            f"there is no parallel execution {execution_id}", context={"execution_id": execution_id}
        )


class UnknownBranchError(FlowStoneError):
    """
    The execution has no such branch.

    Attributes:
        branch: The name that was given.
        known: The names that there are.
    """

    code = "unknown_branch"

    def __init__(self, branch: str, known: Iterable[str]) -> None:
        self.branch = branch
        self.known = tuple(known)
        meant = suggest(branch, self.known)
        hint = f" Did you mean '{meant}'?" if meant else ""
        super().__init__(
            f"there is no branch '{branch}'.{hint} There are: {', '.join(self.known)}",
            context={"branch": branch, "known": list(self.known)},
        )


class BranchesFailedError(MaterializationError):
    """
    Branches that the join needs have no value.

    Attributes:
        branches: Their names.
    """

    code = "branches_failed"

    def __init__(
        self,
        said: str,
        branches: Iterable[str],
        *,
        asset: str = "",
        partition: str = "",
        run_id: int | None = None,
    ) -> None:
        self.said = said
        self.branches = tuple(branches)
        super().__init__(
            said,
            asset=asset,
            partition=partition,
            run_id=run_id,
            context={"branches": list(self.branches)},
        )


class BranchesTimeoutError(BranchesFailedError):
    """Branches that the join needs took too long."""

    code = "timeout"
