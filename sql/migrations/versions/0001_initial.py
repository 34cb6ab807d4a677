"""procrastinate's objects, triggers that work by statement, and our own tables."""

from flowstone.engine.schema import apply, apply_procrastinate
from flowstone.engine.statements import truth

revision = "0001_initial"
down_revision = None


def upgrade() -> None:
    """Load the truth as it stands: until the first release there is nothing else to be equal to."""
    apply_procrastinate()
    apply("procrastinate/triggers.sql", *truth("core"), "procrastinate/interventions.sql")
