from datetime import timedelta

import pytest

from flowstone.core.errors import InvalidOptionError
from flowstone.core.results import Cancel, Skip, Snooze


class TestSnooze:
    @pytest.mark.parametrize("delay", [timedelta(minutes=10), "10m", 600, 600.0])
    def test_every_spelling_of_a_delay_is_a_timedelta(self, delay: timedelta | str | float) -> None:
        assert Snooze(delay).delay == timedelta(minutes=10)

    @pytest.mark.parametrize("delay", ["soon", "-1s", -5, float("nan")])
    def test_a_delay_that_is_none_is_refused_at_once(self, delay: str | float) -> None:
        with pytest.raises(InvalidOptionError, match="Snooze delay"):
            Snooze(delay)

    def test_it_matches_by_position(self) -> None:
        match Snooze("1s"):
            case Snooze(delay):
                assert delay == timedelta(seconds=1)


def test_outcomes_are_values() -> None:
    assert Skip("empty") == Skip("empty")
    assert Cancel() == Cancel(reason="")
    assert len({Skip(), Skip(), Cancel(), Snooze(1)}) == 3


def test_outcomes_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Skip("a").reason = "b"  # type: ignore[misc]  # that it is refused is the test
