"""The tables of scatters and what works on them."""

from alembic import op

from flowstone.engine.schema import apply
from flowstone.engine.statements import truth

revision = "0001_scatter"
down_revision = None

TABLES = ("scatter_barriers", "scatter_feeds", "scatter_chunks", "scatter_pumps")
TABLES_OF_ITEMS = ("scatter_items", "scatter_children", "scatter_batched_keys")
FORGET = "'scatter_forget_items'"


def upgrade() -> None:
    """Load the truth as it stands: until the first release there is nothing else to be equal to."""
    apply(*truth("scatter"))
    for table in TABLES:
        op.execute(f"SELECT flowstone_attach_v1('{table}')")
    for table in TABLES_OF_ITEMS:
        function = FORGET if table == "scatter_items" else "NULL"
        op.execute(f"SELECT flowstone_attach_v1('{table}', {function}, true)")
