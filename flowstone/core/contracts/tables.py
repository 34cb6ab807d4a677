"""Tables that a plugin brings to the schema of an application."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Tables:
    """
    A line of migrations beside FlowStone's own; ``flowstone db migrate`` runs both.

    Attributes:
        revisions: The folder of its Alembic revisions, one file each. A file is named after its
            revision, the names sort in the order of the revisions, and there are no branches:
            ``0001_tallies.py``. They run with the schema as search path, so names in them go
            without it, and their state is kept in a version table of its own there. Beside
            FlowStone's tables, names begin with the plugin's: ``tally_counts``. One whose tables
            older code of the plugin can work with says so: `flowstone.engine.schema.still_serves`.
        bounds: By table, what keeps it from growing for ever; ``flowstone db size`` shows it.
    """

    revisions: Path
    bounds: Mapping[str, str] = field(default_factory=dict, hash=False)
