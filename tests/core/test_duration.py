from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowstone.core import duration
from flowstone.core.errors import InvalidOptionError


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("10m", 600),
        ("1.5s", 1.5),
        ("2d", 172_800),
        ("250ms", 0.25),
        ("1h30m", 5400),
        ("1w 2d", 777_600),
        (" 5 s ", 5),
        ("5m10ms", 300.01),
        ("0s", 0),
        (90, 90),
        (0.25, 0.25),
        (timedelta(hours=1), 3600),
    ],
)
def test_what_people_write_is_understood(value, seconds) -> None:
    assert timedelta(seconds=seconds) == duration.parse(value)


@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        "10",
        "5x",
        "1h1h",
        "30m1h",
        "-5s",
        "٣s",
        "1e3s",
        "5s!",
        "9" * 200 + "s",
        None,
        [],
        True,
    ],
)
def test_what_nobody_can_read_is_refused_by_name(value) -> None:
    with pytest.raises(InvalidOptionError, match="timeout="):
        duration.parse(value, option="timeout")


@pytest.mark.parametrize("value", [-1, -0.5, timedelta(seconds=-1), float("nan"), float("-inf")])
def test_negative_and_undefined_durations_are_refused(value) -> None:
    with pytest.raises(InvalidOptionError):
        duration.parse(value)


@pytest.mark.parametrize("value", [1e300, 10**400, "999999999w", timedelta.max])
def test_a_duration_of_more_than_a_century_is_refused(value) -> None:
    with pytest.raises(InvalidOptionError, match="too long"):
        duration.parse(value)


@given(st.integers(0, 10**15))
def test_milliseconds_are_exact(microseconds: int) -> None:
    text = f"{microseconds // 1000}.{microseconds % 1000:03}ms"

    assert timedelta(microseconds=microseconds) == duration.parse(text)
