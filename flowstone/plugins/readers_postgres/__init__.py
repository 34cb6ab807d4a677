"""Items from a query, page by page along a key."""

from flowstone.plugins.readers_postgres.postgres_reader import PostgresReader

__all__ = ["PostgresReader"]
