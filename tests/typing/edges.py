"""An edge compares what its producer returns with what its consumer is annotated to get."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypedDict, assert_type

from flowstone import Cancel, Context, Dep, Pipeline, Skip, Snooze

sales = Pipeline("sales")


@dataclass
class Orders:
    total: int


@dataclass
class Refunds(Orders):
    reason: str


class Row(TypedDict):
    id: int


@sales.asset
async def numbers() -> list[int]:
    return [1, 2, 3]


@sales.asset(io="lake", tags=["core"])
async def refunds() -> Refunds:
    return Refunds(1, "late")


@sales.asset
def rows() -> list[Row]:
    return [{"id": 1}]


@sales.asset()
def nothing() -> None: ...


@sales.asset
async def perhaps(base: list[int] = Dep(numbers)) -> int | Skip | Snooze | Cancel:
    return base[0] if base else Skip("empty")


@sales.asset
def perhaps_none() -> str | Skip | None:
    return None


assert_type(Dep(numbers), list[int])
assert_type(Dep(refunds), Refunds)
assert_type(Dep(rows), list[Row])
assert_type(Dep(nothing), None)
assert_type(Dep(perhaps), int)
assert_type(Dep(perhaps_none), str | None)
assert_type(Dep(numbers, optional=True), list[int] | None)
assert_type(Dep("other.rates", type=Orders), Orders)
assert_type(Dep("other.rates", type=Orders, optional=True), Orders | None)
assert_type(Dep("other.rates", type=list[int]), list[int])


# What fits.


@sales.asset
async def as_declared(base: list[int] = Dep(numbers)) -> None: ...


@sales.asset
async def as_a_sequence(base: Sequence[int] = Dep(numbers)) -> None: ...


@sales.asset
async def as_a_base_class(base: Orders = Dep(refunds)) -> None: ...


@sales.asset
async def as_mappings(base: Sequence[Mapping[str, object]] = Dep(rows)) -> None: ...


@sales.asset
async def optional(base: Sequence[int] | None = Dep(numbers, optional=True)) -> None: ...


@sales.asset
async def by_name(base: Orders = Dep("other.rates", type=Orders)) -> None: ...


@sales.asset
async def annotated(base: Annotated[list[int], Dep(numbers)]) -> int:
    return len(base)


@sales.asset(after=[numbers, refunds, "other.rates"])
def ordered() -> None: ...


# What does not.


@sales.asset
async def another_type(base: str = Dep(numbers)) -> None: ...  # E:


@sales.asset
async def another_element(base: list[str] = Dep(numbers)) -> None: ...  # E:


@sales.asset
async def a_subclass(base: Refunds = Dep("other.orders", type=Orders)) -> None: ...  # E:


@sales.asset
async def optional_without_none(base: list[int] = Dep(numbers, optional=True)) -> None: ...  # E:


@sales.asset
async def outcome_as_value(base: Skip = Dep(perhaps)) -> None: ...  # E:


@sales.asset
async def none_as_value(base: str = Dep(perhaps_none)) -> None: ...  # E:


@sales.asset
def from_a_plain_function(base: list[int] = Dep(rows)) -> None: ...  # E:


def undecorated() -> int:
    return 1


Dep(undecorated)  # E:
Dep("other.rates")  # E:
Dep(numbers, optional=False)  # E:
sales.asset(after=[undecorated])  # E:


# Any in a signature. Pyright goes on; mypy takes any overload and knows nothing of the asset any
# more, so that its edges are not compared.


@sales.asset
async def loose() -> dict[str, Any]:
    return {}


@sales.asset
async def from_loose(base: list[int] = Dep(loose)) -> None: ...  # E[pyright]:


# A Context is no Any.


@sales.asset
async def with_context(ctx: Context, base: list[int] = Dep(numbers)) -> int:
    assert_type(ctx.partition, object)
    return 1


assert_type(Dep(with_context), int)
