from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal, NewType, Protocol, TypedDict, TypeVar
from uuid import UUID

import pytest

from flowstone.core.type_fit import fits

T = TypeVar("T")
Url = NewType("Url", str)


@dataclass
class Orders:
    total: int


@dataclass
class Refunds(Orders):
    reason: str


@dataclass
class People:
    names: list[str]


class Index:
    """Not a dataclass: what a codec of one's own may know."""


class Sized(Protocol):
    def size(self) -> int: ...


class Row(TypedDict):
    id: int


class Color(Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (int, int),
        (int, float),
        (list[int], Sequence[int]),
        (list[int], Iterable[int]),
        (list[int], tuple[int, ...]),
        (list[int], set[float]),
        (tuple[int, str], tuple[int, str]),
        (tuple[int, int], list[int]),
        (list, list[int]),
        (dict[str, int], Mapping[str, int]),
        (dict[str, Any], Orders),
        (Row, dict[str, int]),
        (dict[str, int], Row),
        (Orders, dict[str, Any]),
        (Refunds, Orders),
        (Orders, Orders | None),
        (None, Orders | None),
        (bool, bool),
        (str, date),
        (str, Url),
        (Url, str),
        (UUID, str),
        (str, Decimal),
        (str, Color),
        (Literal["a"], str),
        (str, Literal["a", "b"]),
        (Annotated[int, "x"], int),
        (Orders, Sized),
        (Index, Sized),
        (Any, int),
        (int, object),
        (object, int),
        (int, T),
        (int | str, int | str | None),
        (dict[str, int], Index),
    ],
)
def test_what_may_work_is_let_through(given: object, wanted: object) -> None:
    assert fits(given, wanted)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (list[int], str),
        (str, list[str]),
        (int, str),
        (str, int),
        (bool, int),
        (float, Decimal),
        (None, int),
        (int | None, int),
        (dict[str, int], list[int]),
        (list[int], dict[str, int]),
        (list[int], list[str]),
        (list[int], Sequence[Sequence[int]]),
        (dict[str, int], dict[str, str]),
        (tuple[int, str], list[int]),
        (list[int], tuple[int, str]),
        (tuple[int, str], tuple[str, int]),
        (Orders, People),
        (Orders, Refunds),
        (list[Orders], list[People]),
        (Orders, list[int]),
        (Index, Orders),
        (str, Orders),
        (Literal["a"], int),
        (Url, int),
    ],
)
def test_what_plainly_cannot_work_is_not(given: object, wanted: object) -> None:
    assert not fits(given, wanted)
