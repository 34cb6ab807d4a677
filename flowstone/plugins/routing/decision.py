"""What a router has decided: the value that it stores."""

from dataclasses import dataclass
from enum import StrEnum


class Rule(StrEnum):
    """Why a branch was selected."""

    CHOICE = "choice"
    """A predicate was true, and those before it were not."""
    DEFAULT = "default"
    """No predicate was."""
    FUNCTION = "function"
    """The router's function said so itself."""
    FALLBACK = "fallback"
    """Deciding failed, and ``on_error`` names a branch."""


@dataclass(frozen=True, slots=True)
class Decision:
    """
    One decision, made once for each run, router and partition.

    Attributes:
        decision_id: The id of the router's materialization.
        run_id: The run that it was made in; later runs may reuse it.
        router: The router's full name.
        partition: Encoded; empty is none.
        selected_branch: None when no branch is to run.
        available_branches: All that there were to select from.
        rule: Why that one.
        predicate: The predicate that was true, by name or place.
        error: Of a fallback: what deciding failed with.
    """

    decision_id: int
    run_id: int
    router: str
    partition: str
    selected_branch: str | None
    available_branches: tuple[str, ...]
    rule: Rule
    predicate: str | None = None
    error: str | None = None

    def __str__(self) -> str:
        return f"{self.selected_branch or 'no branch'} ({self.why})"

    @property
    def why(self) -> str:
        """Which rule decided, in words."""
        match self.rule:
            case Rule.CHOICE:
                return self.predicate or "a choice"
            case Rule.DEFAULT:
                return "by default"
            case Rule.FUNCTION:
                return "as its function said"
            case Rule.FALLBACK:
                return f"fallback after {self.error}"
