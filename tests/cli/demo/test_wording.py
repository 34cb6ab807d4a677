import pytest

from flowstone.cli.demo.wording import count, duration, listing, milliseconds, share, size


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (-1, "0 B"),
        (0, "0 B"),
        (999, "999 B"),
        (1_000, "1.0 kB"),
        (9_940, "9.9 kB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
        (303_000_000, "303 MB"),
        (5_100_000_000_000, "5,100 GB"),
    ],
)
def test_a_size_is_in_decimal_units(number: int, text: str) -> None:
    assert size(number) == text


def test_a_number_takes_the_noun_that_fits() -> None:
    assert count(1, "file") == "1 file"
    assert count(8_412, "file") == "8,412 files"
    assert count(0, "file is", "files are") == "0 files are"


def test_a_share_that_is_there_is_not_nothing() -> None:
    assert [share(0, 9), share(1, 900), share(1, 3), share(1, 0)] == ["0%", "<1%", "33%", "0%"]


def test_a_listing_counts_what_it_leaves_out() -> None:
    assert listing(["a", "b"], 2) == "a, b"
    assert listing(["a", "b", "c"], 2) == "a, b and 1 more"


def test_a_duration_is_in_milliseconds_up_to_a_second() -> None:
    assert (duration(999), duration(1_050), duration(0)) == ("999 ms", "1.1 s", "0 ms")


def test_milliseconds_have_one_decimal() -> None:
    assert milliseconds(12_345) == "12.3 ms"
