"""Approvals, and what is to be told about them."""

from flowstone.engine.schema import apply
from flowstone.engine.statements import truth

revision = "0001_checkpoints"
down_revision = None


def upgrade() -> None:
    """Load the truth as it stands: until the first release there is nothing else to be equal to."""
    apply(*truth("checkpoints"))
