from alembic import op

revision = "0001_counts"
down_revision = None


def upgrade() -> None:
    op.execute("CREATE TABLE tally_counts (name text PRIMARY KEY, count bigint NOT NULL)")
    op.execute("COMMENT ON TABLE tally_counts IS 'What was counted, by name.'")
