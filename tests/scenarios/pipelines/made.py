"""The value of every asset here: it says which start of its body made it, and from what."""

from dataclasses import dataclass, field

from flowstone import Context
from tests.scenarios.ledger import Ledger, Start


@dataclass(frozen=True, slots=True)
class Made:
    """A value that can be traced to the one start that returned it."""

    token: str
    attempt: int
    pid: int
    inputs: list[str] = field(default_factory=list)


def begin(ctx: Context) -> Start:
    """Write down that a body begins."""
    return Ledger.of_this_process().begin(ctx)


def made(start: Start, *inputs: Made | None) -> Made:
    """Return the value of a start, made from these."""
    tokens = [each.token for each in inputs if each is not None]
    return Made(start.token, start.attempt, start.pid, tokens)
