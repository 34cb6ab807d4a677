"""What a function returns instead of its value when somebody has to look at that first."""

from dataclasses import dataclass
from typing import Generic, TypeVar

from flowstone.core.results import ReturnedOutcome

T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True)
class NeedsApproval(ReturnedOutcome, Generic[T_co]):
    """
    Hold this value until it is approved: then it is the asset's, and what depends on it goes on.

    Attributes:
        value: What is held; whoever approves may put another one in its place.
        message: What it is about, for those who decide.
    """

    value: T_co
    message: str = ""
