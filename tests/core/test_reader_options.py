"""A reader's configuration, checked field by field."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pytest

from flowstone.core.errors import InvalidOptionError
from flowstone.core.reader_options import options_of


@dataclass(frozen=True, kw_only=True)
class Options:
    bucket: str
    size: int = 1
    order: Literal["asc", "desc"] = "asc"
    fields: str | Sequence[str] = ()
    names: Mapping[str, str] | None = None
    choose: Callable[[object], object] | None = None
    anything: object = None
    strict: bool = False

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError("size= must be above zero")


def test_what_fits_is_taken() -> None:
    given: dict[str, Any] = {
        "bucket": "b",
        "size": 2,
        "order": "desc",
        "fields": ["a", "b"],
        "names": {"#a": "a"},
        "choose": len,
        "anything": 3,
        "strict": True,
    }

    assert options_of(Options, given) == Options(**given)
    assert options_of(Options, {"bucket": "b", "fields": "a"}).fields == "a"


def test_all_objections_come_at_once() -> None:
    with pytest.raises(InvalidOptionError) as caught:
        options_of(Options, {"buckt": "b", "size": "2"})

    assert "there is no 'buckt', did you mean 'bucket'?" in str(caught.value)
    assert "bucket= is missing: str" in str(caught.value)
    assert "size='2' must be int" in str(caught.value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"size": True},
        {"order": "up"},
        {"fields": ["a", 1]},
        {"fields": 3},
        {"names": {"#a": 1}},
        {"names": "abc"},
        {"choose": "abc"},
        {"strict": 1},
    ],
    ids=str,
)
def test_another_type_is_refused(wrong: Mapping[str, object]) -> None:
    with pytest.raises(InvalidOptionError, match=f"{next(iter(wrong))}=.* must be "):
        options_of(Options, {"bucket": "b", **wrong})


def test_the_classes_own_objection_counts() -> None:
    with pytest.raises(InvalidOptionError, match="Options: size= must be above zero"):
        options_of(Options, {"bucket": "b", "size": 0})
