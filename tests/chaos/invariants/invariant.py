"""One thing that holds whatever happened."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Invariant:
    """
    Attributes:
        claim: What holds, in words.
        sql: Returns a row for each violation. A column ``at``, if there is one, says when: the
            faults around it are reported with the row. ``flowstone`` has the engine's tables,
            ``chaos`` what bodies and clients know: see `tests.chaos.evidence`.
    """

    claim: str
    sql: str
