"""Values across the border: what comes back is what went in, and what cannot is refused alone."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, NamedTuple
from uuid import UUID

import pytest

from flowstone import Dep, Pipeline, RunFailedError
from tests.application.conftest import AppOf
from tests.application.stage import drain, statuses, steps

pydantic = pytest.importorskip("pydantic")

NASTY = "a'; DROP TABLE flowstone_runs; -- \" %s {} $1 \\ \n ü 💧 \u2028"


class Color(Enum):
    RED = "red"
    BLUE = "blue"


class Point(NamedTuple):
    x: int
    y: float


@dataclass(frozen=True)
class Line:
    sku: UUID
    price: Decimal
    color: Color | None = None


@dataclass(frozen=True)
class Order:
    day: date
    placed_at: datetime
    lines: list[Line]
    totals: dict[str, tuple[Decimal, ...]]
    tags: frozenset[str] = frozenset()
    parent: "Order | None" = None


class Customer(pydantic.BaseModel):  # type: ignore[misc, name-defined]
    name: str
    since: date


LINE = Line(UUID(int=7), Decimal("19.90"), Color.BLUE)
ORDER = Order(
    date(2024, 2, 29),
    datetime(2024, 2, 29, 23, 59, 59, 999_999, UTC),
    [LINE, Line(UUID(int=8), Decimal("1E+3"))],
    {"net": (Decimal("0.10"), Decimal("-0")), "": ()},
    frozenset({"a", "b"}),
)
VALUES: Sequence[tuple[Any, Any]] = [
    (int, 2**70),
    (int, -1),
    (float, 0.1),
    (float, 5e-324),
    (bool, True),
    (str, NASTY),
    (str, ""),
    (bytes, b"\x00\xff"),
    (None, None),
    (int | None, None),
    (date, date(1, 1, 1)),
    (datetime, datetime(2024, 1, 1, 12, 30, tzinfo=UTC)),
    (time, time(23, 59, 59)),
    (timedelta, timedelta(days=-1, microseconds=1)),
    (Decimal, Decimal("0.10")),
    (UUID, UUID(int=2**128 - 1)),
    (Color, Color.RED),
    (Point, Point(1, 2.5)),
    (Line, LINE),
    (Order, ORDER),
    (Order, Order(date(2024, 1, 1), datetime(2024, 1, 1), [], {}, frozenset(), ORDER)),
    (list[Line], [LINE] * 3),
    (dict[str, set[int]], {"a": {1, 2}}),
    (dict[str, Any], {NASTY: [1, {"a": None}]}),
    (Customer, Customer(name=NASTY, since=date(2024, 1, 1))),
    (list[Customer | Line], [LINE]),
]


@pytest.mark.parametrize(("annotation", "value"), VALUES, ids=range(len(VALUES)))
async def test_a_value_comes_back_as_its_readers_annotation_says(
    app_of: AppOf, annotation: Any, value: Any
) -> None:
    p, received = Pipeline("p"), []

    @p.asset
    async def made() -> annotation:
        return value

    @p.asset
    def read(made: annotation = Dep(made)) -> annotation:
        received.append(made)
        return made

    app = await app_of(p)
    handle = await app.enqueue(read)
    await drain(app)

    assert received == [value]
    assert type(received[0]) is type(value)
    assert await handle.result() == value
    assert await app.get(read) == value


async def test_what_one_reader_does_to_its_copy_no_other_sees(app_of: AppOf) -> None:
    p = Pipeline("p")
    made = p.asset(name="made")(lambda: [1, 2])

    @p.asset
    async def one(a: list[int] = Dep("p.made", type=list[int])) -> list[int]:
        a.clear()
        return a

    @p.asset(after=[one])
    async def two(
        a: list[int] = Dep("p.made", type=list[int]), b: list[int] = Dep("p.made", type=list[int])
    ) -> list[int]:
        a.append(3)
        return b

    app = await app_of(p)

    assert await app.run([one, two, made]) == [[], [1, 2], [1, 2]]


async def test_a_reader_may_take_less_than_there_is(app_of: AppOf) -> None:
    p = Pipeline("p")
    made = p.asset(name="made")(lambda: {"day": "2024-01-01", "amounts": ["1.50"]})

    @dataclass
    class Sale:
        day: date
        amounts: tuple[Decimal, ...]

    @p.asset
    async def read(sale: Sale = Dep("p.made", type=Sale)) -> str:
        return repr((sale.day, sale.amounts))

    app = await app_of(p)

    assert await app.run(read) == "(datetime.date(2024, 1, 1), (Decimal('1.50'),))"
    assert await app.run(made) == {"day": "2024-01-01", "amounts": ["1.50"]}


@pytest.mark.parametrize("size", [1_000, 32 * 1024, 40_000, 3_000_000])
async def test_a_value_of_any_size_reaches_its_reader(app_of: AppOf, size: int) -> None:
    p = Pipeline("p")

    @p.asset
    async def made() -> str:
        return "ü" * size

    @p.asset
    async def read(made: str = Dep(made)) -> int:
        return len(made)

    app = await app_of(p)
    handle = await app.enqueue_many([read, made])
    await drain(app)

    length, text = await handle.result()
    assert length == size
    assert text == "ü" * size


def deep(levels: int) -> object:
    value: object = 1
    for _ in range(levels):
        value = [value]
    return value


UNSTORABLE: dict[str, tuple[object, str]] = {
    "NaN": (math.nan, r"at \$: "),
    "infinity": ({"a": [1.0, math.inf]}, r"at \$\.a\[1\]: "),
    "NUL": ({"name": "a\0b"}, r"at \$\.name: "),
    "NUL in a key": ({"a\0b": 1}, "NUL"),
    "lone surrogate": (["\ud800"], r"at \$\[0\]: "),
    "unknown type": ({"at": object()}, r"at \$\.at: "),
    "key that is no text": ({(1, 2): 3}, r"at \$"),
    "too deep": (deep(1_000), "at "),
    "too large": ("x" * (16 * 1024 * 1024), "choose an IO manager for large values"),
}


@pytest.mark.parametrize(("value", "told"), UNSTORABLE.values(), ids=UNSTORABLE)
async def test_a_value_that_cannot_be_stored_fails_its_asset_alone(
    app_of: AppOf, value: object, told: str
) -> None:
    p = Pipeline("p")

    @p.asset
    async def unstorable() -> object:
        return value

    @p.asset
    async def after(unstorable: object = Dep(unstorable)) -> None: ...

    @p.asset
    async def apart() -> str:
        return "fine"

    app = await app_of(p)
    handle = await app.enqueue_many(p)
    await drain(app)

    assert await statuses(app, handle.run_id) == {
        "unstorable": "failed",
        "after": "upstream_failed",
        "apart": "succeeded",
    }
    with pytest.raises(RunFailedError, match=told):
        await handle.result()
    (failure,) = await handle.failures()
    assert failure.error["code"] == "value_not_storable"
    assert not await app.exists(unstorable)


async def test_a_value_that_does_not_fit_its_reader_fails_the_reader(app_of: AppOf) -> None:
    p = Pipeline("p")
    p.asset(name="made")(lambda: {"day": "yesterday"})

    @p.asset(retry=3)
    async def read(made: dict[str, date] = Dep("p.made", type=dict[str, date])) -> None: ...

    app = await app_of(p)

    with pytest.raises(
        RunFailedError, match=r"the stored value of p\.\w+ cannot be read: at \$\.day"
    ) as it:
        await app.run(read)

    step = (await steps(app, it.value.run_id))["read"]
    assert (step.status, step.attempt) == ("failed", 1)
    assert json.loads(step.error or "")["code"] == "value_not_readable"
