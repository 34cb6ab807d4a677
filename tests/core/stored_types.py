"""Values of many types, there and back."""

import enum
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import (
    Generic,
    Literal,
    NamedTuple,
    NewType,
    NotRequired,
    Optional,
    TypedDict,
    TypeVar,
)

import pydantic

from flowstone.core.defaults.json_codec import JsonCodec

T = TypeVar("T")


UserId = NewType("UserId", int)


class Color(enum.Enum):
    RED = 1
    BLUE = "blue"
    PAIR = (1, 2)
    YES = True


class Level(enum.IntEnum):
    LOW = 1


class Region(enum.StrEnum):
    NORTH = "north"


class Permission(enum.Flag):
    READ = 1
    WRITE = 2


class Point(NamedTuple):
    x: int
    at: date
    label: str = "here"


class Movie(TypedDict):
    title: str
    year: NotRequired[int]


@dataclass
class Tree:
    value: int
    children: list["Tree"] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    items: list[T]
    following: Optional["Page[T]"] = None


@dataclass(frozen=True)
class Titled(Page[T]):
    title: str = ""


@dataclass(frozen=True)
class Dates(Page[date]):
    pass


@dataclass
class Computed:
    width: int
    area: int = field(init=False)

    def __post_init__(self) -> None:
        self.area = self.width**2


@dataclass
class Positive:
    n: int

    def __post_init__(self) -> None:
        if self.n < 0:
            raise ValueError("n must not be negative")


@dataclass
class Cat:
    name: str
    kind: Literal["cat"] = "cat"


@dataclass
class Dog:
    name: str
    kind: Literal["dog"] = "dog"


@dataclass
class Twin:
    name: str
    kind: str = "twin"


class Name(str):
    __slots__ = ()


class Model(pydantic.BaseModel):
    id: int = pydantic.Field(alias="ID")
    when: date
    by_number: dict[int, Decimal] = {}
    tree: Tree | None = None

    @pydantic.computed_field
    def double(self) -> int:
        return self.id * 2


class Node(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(strict=True, extra="allow")

    label: str
    payload: bytes = b""
    members: set[int] = set()
    next: "Node | None" = None


class Secret(pydantic.BaseModel):
    token: pydantic.SecretStr


class Hidden(pydantic.BaseModel):
    shown: int
    hidden: int = pydantic.Field(default=0, exclude=True)


def round_trip(value: object, annotation: object) -> object:
    codec = JsonCodec()
    return codec.decode(codec.encode(value), annotation)
