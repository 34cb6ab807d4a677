"""What the body of a gate is given, and what it returns."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from flowstone.core.json_value import JsonValue
from flowstone.core.results import ReturnedOutcome
from flowstone.plugins.signal_gate.token import checked_token


@dataclass(frozen=True, slots=True)
class Wait(ReturnedOutcome):
    """
    Wait for the signal of a token.

    Args:
        token: What the sender names: a `Callback`'s, the number of an order, the id of a task
            elsewhere. Any text; of all gates that are open only this one may have it.
        metadata: Facts for people, JSON; shown with the gate.

    Raises:
        InvalidOptionError: The token is no text, empty, or too long.
    """

    token: str
    metadata: Mapping[str, JsonValue] = field(default_factory=dict)

    def __post_init__(self) -> None:
        checked_token(self.token)


@dataclass(frozen=True, slots=True)
class Callback:
    """
    Where somebody outside sends the signal; a parameter of this type is filled in.

    Attributes:
        token: A token that nobody can guess, new in each attempt.
        url: Where to POST the payload: it carries the token, signed.
    """

    token: str
    url: str
