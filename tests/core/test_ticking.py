"""Which ticks are enqueued, by policy, and how far back one looks for them."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from flowstone.core.contracts.schedule_store import DueSchedule
from flowstone.core.missed import Missed
from flowstone.core.ticking import MOST_MADE_UP, STILL_FRESH, advance

MIDNIGHT = datetime(2026, 1, 15, tzinfo=UTC)
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)


class Every:
    """Ticks in even steps from midnight; counts how many were asked for."""

    def __init__(self, step: timedelta) -> None:
        self.step = step
        self.asked = 0

    def __call__(self, cron: str, timezone: str, after: datetime) -> Iterator[datetime]:
        tick = after - (after - MIDNIGHT) % self.step
        while True:
            tick += self.step
            self.asked += 1
            yield tick


def due(missed: Missed, at: datetime = MIDNIGHT) -> DueSchedule:
    return DueSchedule("shop.hourly", "0 * * * *", "UTC", missed, at)


class TestOnTime:
    @pytest.mark.parametrize("missed", ["skip", "one", "all"])
    def test_one_that_is_due_is_enqueued_whatever_the_policy(self, missed: Missed) -> None:
        step = advance(due(missed), MIDNIGHT + SECOND, Every(HOUR))

        assert (step.ticks, step.next_at) == ([MIDNIGHT], MIDNIGHT + HOUR)

    def test_its_very_instant_is_not_too_early(self) -> None:
        step = advance(due("one"), MIDNIGHT, Every(HOUR))

        assert (step.ticks, step.next_at) == ([MIDNIGHT], MIDNIGHT + HOUR)

    def test_what_the_row_says_is_a_tick_whatever_the_expression_says_now(self) -> None:
        odd = MIDNIGHT + timedelta(minutes=7)

        step = advance(due("one", odd), odd + SECOND, Every(HOUR))

        assert (step.ticks, step.next_at) == ([odd], MIDNIGHT + HOUR)

    def test_after_the_last_there_is_none(self) -> None:
        def only(cron: str, timezone: str, after: datetime) -> Iterator[datetime]:
            return iter(())

        assert advance(due("one"), MIDNIGHT, only).next_at is None


class TestMissed:
    LATER = MIDNIGHT + 5 * HOUR + timedelta(minutes=10)

    def test_one_makes_up_for_all_of_them_with_the_newest(self) -> None:
        step = advance(due("one"), self.LATER, Every(HOUR))

        assert (step.ticks, step.next_at) == ([MIDNIGHT + 5 * HOUR], MIDNIGHT + 6 * HOUR)

    def test_all_are_made_up_for_in_their_order(self) -> None:
        step = advance(due("all"), self.LATER, Every(HOUR))

        assert step.ticks == [MIDNIGHT + hours * HOUR for hours in range(6)]
        assert step.next_at == MIDNIGHT + 6 * HOUR

    def test_of_too_many_the_newest_are_made_up_for(self) -> None:
        step = advance(due("all"), MIDNIGHT + 1000 * HOUR, Every(HOUR))

        assert step.ticks == [MIDNIGHT + hours * HOUR for hours in range(1001 - MOST_MADE_UP, 1001)]

    def test_skipped_ones_stay_missed(self) -> None:
        step = advance(due("skip"), self.LATER, Every(HOUR))

        assert (step.ticks, step.next_at) == ([], MIDNIGHT + 6 * HOUR)

    def test_skipping_enqueues_the_newest_if_it_is_fresh(self) -> None:
        fresh = MIDNIGHT + 5 * HOUR + STILL_FRESH

        assert advance(due("skip"), fresh, Every(HOUR)).ticks == [MIDNIGHT + 5 * HOUR]
        assert advance(due("skip"), fresh + SECOND, Every(HOUR)).ticks == []

    @pytest.mark.parametrize("missed", ["skip", "one", "all"])
    def test_a_year_of_seconds_is_not_walked_through(self, missed: Missed) -> None:
        seconds = Every(SECOND)
        later = MIDNIGHT + timedelta(days=365)

        step = advance(due(missed), later, seconds)

        assert step.ticks[-1] == later
        assert seconds.asked < 2000

    def test_rare_ones_are_found_far_back(self) -> None:
        years = Every(timedelta(days=365))

        step = advance(due("all"), MIDNIGHT + timedelta(days=800), years)

        assert step.ticks == [MIDNIGHT + timedelta(days=365 * number) for number in range(3)]
        assert years.asked < 50
