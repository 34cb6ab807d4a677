"""What can go wrong with a router while it works."""

from collections.abc import Sequence
from typing import Self

from flowstone.core.errors import FlowStoneError
from flowstone.core.errors.root import unknown
from flowstone.core.suggestion import suggest


class DecisionNotFoundError(FlowStoneError):
    """No such decision was made, or it is kept no longer."""

    code = "decision_not_found"

    @classmethod
    def of(cls, run_id: int, router: str, partition: str) -> Self:
        """Return the error for a router that has decided nothing in a run."""
        slice_ = f"[{partition}]" if partition else ""
        return cls(
            f"router '{router}{slice_}' has decided nothing in run {run_id}",
            context={"run_id": run_id, "router": router, "partition": partition},
        )


class InvalidBranchError(FlowStoneError):
    """
    A router's function selected what is no branch of it.

    Attributes:
        selected: What it returned.
        available: The branches that there are.
    """

    code = "invalid_branch"

    def __init__(self, router: str, selected: object, available: Sequence[str]) -> None:
        self.selected = selected
        self.available = tuple(available)
        meant = suggest(selected, available) if isinstance(selected, str) else None
        sentence = f"router '{router}' selected {selected!r}, which is no branch of it"
        super().__init__(
            unknown(sentence, available, meant),
            context={"router": router, "available": list(available)},
        )


class InvalidPredicateError(FlowStoneError):
    """A predicate answered with something other than True or False."""

    code = "invalid_predicate"

    def __init__(self, router: str, predicate: str, answer: object) -> None:
        super().__init__(
            f"router '{router}': {predicate} returned {answer!r:.80}, which is neither True nor "
            "False: return bool(...)",
            context={"router": router, "predicate": predicate},
        )
