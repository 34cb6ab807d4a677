"""What cannot be stored or read is refused, with the place and the reason."""

import collections
import pathlib
import typing
import uuid
from dataclasses import InitVar, dataclass
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import (
    Literal,
)
from zoneinfo import ZoneInfo

import pydantic
import pytest

from flowstone.core.errors import ValueNotReadableError, ValueNotStorableError
from tests.core.stored_types import (
    Cat,
    Dog,
    Hidden,
    Model,
    Movie,
    Node,
    Point,
    Positive,
    Region,
    Secret,
    Tree,
    Twin,
)


class TestWhatCannotBeStored:
    @pytest.mark.parametrize(
        ("value", "path", "why"),
        [
            ("\0", "$", "NUL"),
            (["ok", "\ud800"], "$[1]", "surrogate"),
            ({"a": {"b c": [1, float("nan")]}}, '$.a["b c"][1]', "nan"),
            ({"a": "\\u0000", "b": "\0"}, "$.b", "NUL"),
            ({"bad \0 key": 1}, "$", "key"),
            ({"a": {3: 1}}, "$.a", "key"),
            (Tree(1, [Tree(2, [object()])]), "$.children[0].children[0]", "object"),
            (Point(1, object()), "$[1]", "object"),
            ({frozenset({1, object()})}, "${…}{…}", "object"),
            (10**5000, "$", "digits"),
            ([10**5000], "$[0]", "digits"),
            ([Decimal("NaN")], "$[0]", "finite"),
            ([Decimal("sNaN")], "$[0]", "finite"),
            (time(12, tzinfo=ZoneInfo("Europe/Paris")), "$", "offset"),
            ([datetime(1, 1, 1, tzinfo=timezone(timedelta(microseconds=1)))], "$[0]", "offset"),
            (Secret(token="hunter2"), "$", "token"),
            (Hidden(shown=1, hidden=2), "$", "hidden"),
            ([Node(label="\0")], "$[0].label", "NUL"),
            (pathlib.Path("\udcff"), "$", "surrogate"),
            (range(3), "$", "range"),
            (collections.deque([1]), "$", "deque"),
            (1j, "$", "complex"),
            (Tree, "$", "class"),
            ((n for n in ()), "$", "generator"),
            (memoryview(b"x"), "$", "memoryview"),
        ],
        ids=lambda value: ascii(value)[:30] if isinstance(value, str) else "",
    )
    def test_says_where_and_why(self, codec, value, path, why) -> None:
        with pytest.raises(ValueNotStorableError) as caught:
            codec.encode(value)

        assert caught.value.path == path
        assert why in caught.value.why
        assert "hunter2" not in str(caught.value)

    def test_a_value_that_contains_itself_is_told_from_a_deep_one(self, codec) -> None:
        inner: dict[str, object] = {}
        inner["again"] = [inner]
        deep: object = []
        for _ in range(300):
            deep = [deep]

        with pytest.raises(ValueNotStorableError, match="contains itself") as circular:
            codec.encode({"a": inner})
        with pytest.raises(ValueNotStorableError, match="200 levels") as nested:
            codec.encode(deep)

        assert circular.value.path == "$.a.again[0]"
        assert len(nested.value.path) < 100

    def test_one_object_in_two_places_is_fine(self, codec) -> None:
        shared = [1, [2]]

        assert codec.decode(codec.encode([shared, shared])) == [shared, shared]

    def test_text_that_only_looks_like_an_escaped_nul_is_fine(self, codec) -> None:
        assert codec.decode(codec.encode(["\\u0000"])) == ["\\u0000"]

    def test_a_property_that_fails_is_the_authors_error(self, codec) -> None:
        class Odd(pydantic.BaseModel):
            n: int

            @pydantic.field_serializer("n")
            def shout(self, n: int) -> int:
                raise RuntimeError("no")

        with pytest.raises(ValueNotStorableError, match="Odd cannot be dumped"):
            codec.encode(Odd(n=1))


class TestWhatCannotBeRead:
    @pytest.mark.parametrize(
        ("text", "annotation", "path", "why"),
        [
            ('{"value":1,"children":[{"value":"x"}]}', Tree, "$.children[0].value", "int"),
            ('{"children":[]}', Tree, "$", "'value'"),
            ('{"value":1,"odd":1}', Tree, "$", "'odd'"),
            ("[1]", Point, "$", "array of 3"),
            ('[1,"x","y"]', Point, "$.at", "date"),
            ('{"year":1}', Movie, "$", "'title'"),
            ('{"title":"x","odd":1}', Movie, "$", "'odd'"),
            ('{"n":-1}', Positive, "$", "must not be negative"),
            ("[1,1]", set[int], "$", "twice"),
            ("[[]]", set[list[int]], "$", "no set"),
            ("[1]", tuple[int, int], "$", "array of 2"),
            ('{"a":1,"b":"x"}', dict[str, int], "$.b", "int"),
            ('{"1":1}', dict[int, int], '$["1"]', "int"),
            ("2", Literal[1, "a"], "$", "one of 1, 'a'"),
            ("1.0", Literal[1], "$", "one of"),
            ('{"name":"x","kind":"bird"}', Cat | Dog, "$", "none of"),
            ("1", str | None, "$", "str"),
            ('"PT"', timedelta, "$", "duration"),
            ('"P1Y"', timedelta, "$", "duration"),
            ('"20240101"', date, "$", "date"),
            ('"2024-01-01"', datetime, "$", "datetime"),
            ('"x"', uuid.UUID, "$", "UUID"),
            ('"Infinity"', Decimal, "$", "Decimal"),
            ("1.5", Decimal, "$", "Decimal"),
            ('"a b"', bytes, "$", "bytes"),
            ('"ü"', bytes, "$", "bytes"),
            ('{"ID":1,"when":"2024-01-01"}', Model, "$", "Model"),
            ("1", int | None | Literal["x"] | float, "", ""),
        ],
        ids=lambda value: str(value)[:30],
    )
    def test_says_where_and_why(self, codec, text, annotation, path, why) -> None:
        if not path:
            assert codec.decode(text, annotation) == 1
            return
        with pytest.raises(ValueNotReadableError) as caught:
            codec.decode(text, annotation)

        assert caught.value.path == path
        assert why in caught.value.why

    @pytest.mark.parametrize(
        "annotation",
        [
            date | str,
            str | uuid.UUID | None,
            Region | str,
            "Tree",
            list["Nowhere"],  # noqa: F821 - it is not resolved
            complex,
            range,
            typing.Callable[[], int],
            collections.deque[int],
            type[int],
            5,
        ],
        ids=str,
    )
    def test_an_annotation_that_cannot_be_told_from_another_or_is_unknown(
        self, codec, annotation
    ) -> None:
        with pytest.raises(ValueNotReadableError):
            codec.decode('"2024-01-01"', annotation)

    def test_a_union_of_types_that_look_the_same_is_refused_with_advice(self, codec) -> None:
        with pytest.raises(ValueNotReadableError, match="Literal"):
            codec.decode('{"name":"x","kind":"cat"}', Cat | Twin)

    def test_an_argument_of_the_constructor_that_is_not_kept(self, codec) -> None:
        @dataclass
        class Needs:
            n: int
            factor: InitVar[int]

        with pytest.raises(ValueNotReadableError, match="refused"):
            codec.decode(codec.encode(Needs(1, 2)), Needs)
