"""What somebody who looks after an application is told: findings, each with what mends it."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How a finding counts: FAIL is what keeps something from working."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """
    One thing that was looked at.

    Attributes:
        check: What it is, in a few words.
        mend: The command or deed that mends it; None when there is nothing to mend.
    """

    check: str
    level: Level
    message: str
    mend: str | None = None
