"""What the tables of plugins have to keep to."""

from flowstone.engine.table_sizes import OTHERS, table_sizes
from tests.plugins.conftest import tables_of_plugins


def test_every_table_of_a_plugin_says_why_it_does_not_grow_for_ever(dsn: str) -> None:
    sizes = table_sizes(dsn, tables=tables_of_plugins())

    assert [it.table for it in sizes if it.bound == OTHERS] == []
