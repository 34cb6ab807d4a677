"""cronsim keeps the parser's contract; and what is beyond it."""

from datetime import UTC, datetime
from itertools import islice

import pytest

from flowstone.core import plugin
from flowstone.core.contracts.cron_parser import CronParser
from flowstone.core.errors import InvalidOptionError
from flowstone.core.registries import in_memory
from flowstone.engine.cron import CronSimParser
from flowstone.testing.contracts.cron_parser_contract import CronParserContract
from tests.architecture.imports import loaded_by

NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)


class TestCronSim(CronParserContract):
    @pytest.fixture
    def parser(self) -> CronParser:
        return CronSimParser()

    @pytest.mark.parametrize(
        ("cron", "first"),
        [
            ("@hourly", datetime(2026, 1, 15, 13, tzinfo=UTC)),
            ("@Daily", datetime(2026, 1, 16, tzinfo=UTC)),
            ("@weekly", datetime(2026, 1, 18, tzinfo=UTC)),
            ("@monthly", datetime(2026, 2, 1, tzinfo=UTC)),
            ("@yearly", datetime(2027, 1, 1, tzinfo=UTC)),
            ("0 9 L * *", datetime(2026, 1, 31, 9, tzinfo=UTC)),
            ("0 9 * * MON#1", datetime(2026, 2, 2, 9, tzinfo=UTC)),
        ],
    )
    def test_nicknames_and_the_last_and_nth_days(
        self, parser: CronParser, cron: str, first: datetime
    ) -> None:
        assert next(parser.ticks(cron, "UTC", NOON)) == first

    def test_six_fields_begin_with_seconds(self, parser: CronParser) -> None:
        found = islice(parser.ticks("*/20 * * * * *", "UTC", NOON), 4)

        assert [it.second for it in found] == [20, 40, 0, 20]

    def test_the_message_says_which_field_and_how_it_is_written(self, parser: CronParser) -> None:
        with pytest.raises(InvalidOptionError, match=r"bad minute.*0 8 \* \* MON-FRI"):
            parser.ticks("61 * * * *", "UTC", NOON)


class TestPlugin:
    def test_it_brings_the_default_parser(self) -> None:
        registries = in_memory()

        plugin.install([plugin.load("cron")], registries)

        assert isinstance(registries.cron_parsers.instance("default"), CronSimParser)

    def test_it_needs_neither_a_driver_nor_procrastinate(self) -> None:
        loaded = loaded_by("-c", "import flowstone.engine.cron")

        assert "cronsim" in loaded
        assert {"asyncpg", "psycopg", "procrastinate", "alembic"} & set(loaded) == set()
