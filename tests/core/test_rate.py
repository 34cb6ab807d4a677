"""Rates as people write them."""

from datetime import timedelta

import pytest

from flowstone import Rate
from flowstone.core import rate
from flowstone.core.errors import InvalidOptionError


class TestTexts:
    @pytest.mark.parametrize(
        ("text", "count", "per"),
        [
            ("10/s", 10, timedelta(seconds=1)),
            (" 100 / m ", 100, timedelta(minutes=1)),
            ("5/10s", 5, timedelta(seconds=10)),
            ("1/1h30m", 1, timedelta(minutes=90)),
            ("1000/d", 1000, timedelta(days=1)),
            ("1/1.5ms", 1, timedelta(milliseconds=2)),
        ],
    )
    def test_are_read(self, text: str, count: int, per: timedelta) -> None:
        assert rate.parse(text) == Rate(count, per)

    @pytest.mark.parametrize(
        "text", ["", "10", "10/", "/s", "x/s", "-1/s", "0/s", "1.5/s", "10/fortnight", "10/0s"]
    )
    def test_that_are_none_are_refused(self, text: str) -> None:
        with pytest.raises(InvalidOptionError, match="rate"):
            rate.parse(text)

    @pytest.mark.parametrize("text", ["10/s", "100/m", "5/10s", "1/90m", "1000/d", "3/1500ms"])
    def test_are_written_as_they_are_read(self, text: str) -> None:
        assert str(rate.parse(text)) == text
