"""The gates, the signals that came early, and what is done with them."""

from flowstone.engine.schema import apply
from flowstone.engine.statements import truth

revision = "0001_signal_gate"
down_revision = None


def upgrade() -> None:
    """Load the truth as it stands: until the first release there is nothing else to be equal to."""
    apply(*truth("signal_gate"))
