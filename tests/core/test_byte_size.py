import pytest

from flowstone.core import byte_size
from flowstone.core.errors import InvalidOptionError


@pytest.mark.parametrize(
    ("text", "size"),
    [("1", 1), ("512MB", 2**29), ("4MiB", 2**22), ("1.5 k", 1536), ("2gb", 2**31), (7, 7)],
)
def test_a_size_is_written_as_people_do(text: int | str, size: int) -> None:
    assert byte_size.parse(text, option="max_bytes") == size


@pytest.mark.parametrize("text", ["", "much", "0", "-1MB", 0, -1, True, 1.5, "1TB", None])
def test_what_is_no_size_is_refused_with_its_option(text: str) -> None:
    with pytest.raises(InvalidOptionError, match=r"max_bytes=.* is no size"):
        byte_size.parse(text, option="max_bytes")
