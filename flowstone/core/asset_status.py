"""Where one partition of an asset stands."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from flowstone.core.contracts.store import MaterializationRecord


class AssetState(StrEnum):
    """Whether there is a value."""

    STORED = "stored"
    INVALIDATED = "invalidated"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class AssetStatus:
    """
    One partition of an asset.

    Attributes:
        partition: Encoded; empty is none.
        materialized_at: When the present value was stored; None without one.
        io: The IO manager that has it; None is the store itself.
        version: The version of what produced it.
        latest: The newest materialization, whatever became of it; None if there was none.
    """

    asset: str
    partition: str
    state: AssetState
    materialized_at: datetime | None
    io: str | None
    version: str | None
    latest: MaterializationRecord | None
