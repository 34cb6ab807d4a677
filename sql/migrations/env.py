"""
Alembic's entry.

`flowstone.engine.schema` brings the connection, its transaction, the lock and the search_path.
A developer's `alembic` command brings none of them: it asks for what it needs by name.
"""

from alembic import context


def run() -> None:
    """Run the revisions, in the transaction that is open, or write them out."""
    attributes = context.config.attributes
    if "schema" not in attributes:
        raise SystemExit(
            "Migrations run from code: flowstone db migrate, or flowstone db status.\n"
            "The alembic command serves to create and list revisions."
        )
    if context.is_offline_mode():
        context.configure(
            dialect_name="postgresql",
            version_table=attributes["version_table"],
            version_table_schema=attributes["schema"],
            literal_binds=True,
        )
    else:
        context.configure(
            connection=attributes["connection"],
            version_table=attributes["version_table"],
            version_table_schema=attributes["schema"],
        )
    context.run_migrations()


run()
