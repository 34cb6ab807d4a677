"""What every parser of cron expressions has to do, above all when the clocks change."""

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest

from flowstone.core.contracts.cron_parser import CronParser
from flowstone.core.errors import InvalidOptionError

BERLIN = ZoneInfo("Europe/Berlin")
SPRING = datetime(2026, 3, 28, 12, tzinfo=BERLIN)
"""The day before 02:00 becomes 03:00."""

AUTUMN = datetime(2026, 10, 24, 12, tzinfo=BERLIN)
"""The day before 03:00 becomes 02:00 again."""


class CronParserContract:
    """Give the parser in a fixture ``parser``."""

    @pytest.fixture
    def parser(self) -> CronParser:
        """Give the parser that is tested."""
        raise NotImplementedError(f"{type(self).__name__} has to define the fixture `parser`")

    def ticks(self, parser: CronParser, cron: str, after: datetime, count: int) -> list[str]:
        """Return ticks in Berlin as text, with the offset that tells two equal hours apart."""
        found = islice(parser.ticks(cron, "Europe/Berlin", after), count)
        return [it.astimezone(BERLIN).isoformat(" ", "minutes") for it in found]

    def test_ticks_come_after_the_instant_and_ascend(self, parser: CronParser) -> None:
        eight = datetime(2026, 1, 15, 8, tzinfo=UTC)

        found = list(islice(parser.ticks("0 8 * * *", "UTC", eight), 3))

        assert [it.tzinfo for it in found] == [UTC] * 3
        assert found == [eight + timedelta(days=days) for days in (1, 2, 3)]

    def test_an_instant_within_a_second_before_the_tick_is_before_it(
        self, parser: CronParser
    ) -> None:
        eight = datetime(2026, 1, 15, 8, tzinfo=UTC)

        assert next(parser.ticks("0 8 * * *", "UTC", eight - timedelta(microseconds=1))) == eight
        assert next(parser.ticks("0 8 * * *", "UTC", eight + timedelta(microseconds=1))) > eight

    @pytest.mark.parametrize(
        ("cron", "first"),
        [
            ("*/15 * * * *", "2026-01-15T12:15"),
            ("5,35 9-17 * * *", "2026-01-15T12:05"),
            ("0 0 * * MON-FRI", "2026-01-16T00:00"),
            ("0 0 * * 7", "2026-01-18T00:00"),
            ("0 0 29 FEB *", "2028-02-29T00:00"),
            ("0 0 1 * MON", "2026-01-19T00:00"),
        ],
    )
    def test_the_classic_syntax(self, parser: CronParser, cron: str, first: str) -> None:
        noon = datetime(2026, 1, 15, 12, tzinfo=UTC)

        found = next(parser.ticks(cron, "UTC", noon))

        assert found.replace(tzinfo=None).isoformat(timespec="minutes") == first

    @pytest.mark.parametrize("wrong", ["", "x", "* * * *", "61 * * * *", "0 8 * * 8", "0 8 32 * *"])
    def test_what_is_no_expression_is_refused_at_once(self, parser: CronParser, wrong: str) -> None:
        with pytest.raises(InvalidOptionError):
            parser.ticks(wrong, "UTC", SPRING)

    @pytest.mark.parametrize("wrong", ["", "Berlin", "../etc/passwd", "Europe/Atlantis", "CEST+1"])
    def test_what_is_no_time_zone_is_refused_at_once(self, parser: CronParser, wrong: str) -> None:
        with pytest.raises(InvalidOptionError, match="timezone"):
            parser.ticks("0 8 * * *", wrong, SPRING)

    def test_a_wall_clock_keeps_its_hour_through_the_year(self, parser: CronParser) -> None:
        for day in (SPRING, AUTUMN):
            found = list(islice(parser.ticks("0 8 * * *", "Europe/Berlin", day), 2))

            assert [it.astimezone(BERLIN).hour for it in found] == [8, 8]

    def test_a_time_in_the_gap_comes_when_the_gap_ends(self, parser: CronParser) -> None:
        assert self.ticks(parser, "30 2 * * *", SPRING, 2) == [
            "2026-03-29 03:00+02:00",
            "2026-03-30 02:30+02:00",
        ]

    def test_two_times_that_fall_together_there_come_once(self, parser: CronParser) -> None:
        assert self.ticks(parser, "0,30 2,3 * * *", SPRING, 3) == [
            "2026-03-29 03:00+02:00",
            "2026-03-29 03:30+02:00",
            "2026-03-30 02:00+02:00",
        ]

    def test_a_time_that_comes_twice_is_met_once_the_first_time(self, parser: CronParser) -> None:
        assert self.ticks(parser, "30 2 * * *", AUTUMN, 2) == [
            "2026-10-25 02:30+02:00",
            "2026-10-26 02:30+01:00",
        ]

    def test_also_by_who_looks_in_the_hour_that_comes_again(self, parser: CronParser) -> None:
        within = datetime(2026, 10, 25, 2, 10, tzinfo=BERLIN, fold=1)

        assert self.ticks(parser, "30 2 * * *", within, 1) == ["2026-10-26 02:30+01:00"]

    def test_what_goes_on_by_the_hour_leaves_out_no_hour_and_repeats_none(
        self, parser: CronParser
    ) -> None:
        for day in (SPRING, AUTUMN):
            found = list(islice(parser.ticks("0 * * * *", "Europe/Berlin", day), 30))

            hours = {after - before for before, after in pairwise(found)}
            assert hours == {timedelta(hours=1)}

    @pytest.mark.parametrize("zone", ["Europe/Berlin", "Australia/Lord_Howe", "America/Sao_Paulo"])
    @pytest.mark.parametrize("cron", ["*/20 * * * *", "30 2 * * *", "15,45 1-3 * * *"])
    def test_from_wherever_one_looks_the_ticks_are_the_same(
        self, parser: CronParser, zone: str, cron: str
    ) -> None:
        for day in (SPRING, AUTUMN, datetime(2026, 4, 4, 2, tzinfo=UTC)):
            whole = list(islice(parser.ticks(cron, zone, day), 60))
            for place, tick in enumerate(whole[:-1]):
                between = tick + (whole[place + 1] - tick) / 3

                assert next(parser.ticks(cron, zone, tick)) == whole[place + 1]
                assert next(parser.ticks(cron, zone, between)) == whole[place + 1]
