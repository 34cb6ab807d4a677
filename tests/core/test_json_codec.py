import datetime as dt
import math
import pathlib
import sys
import threading
import typing
import uuid
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import (
    Annotated,
    Any,
    Literal,
    TypeVar,
    Union,
)

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowstone.core.contracts.codec import JsonValue
from flowstone.core.defaults.json_codec import JsonCodec
from flowstone.core.defaults.json_reading import MAX_READERS, Readers
from flowstone.core.errors import ValueNotReadableError, ValueNotStorableError
from tests.core.stored_types import (
    Cat,
    Color,
    Computed,
    Dates,
    Dog,
    Level,
    Model,
    Movie,
    Name,
    Node,
    Page,
    Permission,
    Point,
    Region,
    T,
    Titled,
    Tree,
    UserId,
    round_trip,
)


class TestEveryTypeComesBack:
    @pytest.mark.parametrize(
        ("value", "annotation"),
        [
            (datetime(2024, 7, 1, 12, tzinfo=timezone(timedelta(hours=5, minutes=30))), datetime),
            (datetime.max, datetime),
            (datetime(1, 1, 1, tzinfo=timezone(timedelta(seconds=-1))), datetime),
            (time(12, 30, 1, 5), time),
            (time(1, tzinfo=dt.UTC), time),
            (timedelta.max, timedelta),
            (timedelta.min, timedelta),
            (timedelta(microseconds=-1), timedelta),
            (Decimal("1E+500"), Decimal),
            (Decimal("-0.00"), Decimal),
            (uuid.UUID(int=5), uuid.UUID),
            (b"", bytes),
            (bytearray(b"\xff"), bytearray),
            (pathlib.Path("a") / "ü b", pathlib.Path),
            (pathlib.PureWindowsPath("c:\\x"), pathlib.PureWindowsPath),
            (Color.RED, Color),
            (Color.BLUE, Color),
            (Color.PAIR, Color),
            (Level.LOW, Level),
            (Region.NORTH, Region),
            (Permission.READ | Permission.WRITE, Permission),
            (Permission(0), Permission),
            (Point(1, date(2024, 1, 1)), Point),
            ({"title": "Alien", "year": 1979}, Movie),
            ({"title": "Alien"}, Movie),
            (Tree(1, [Tree(2), Tree(3, [Tree(4)])]), Tree),
            (Page([date(2024, 1, 1)], Page([])), Page[date]),
            (Titled([1], None, "t"), Titled[int]),
            (Dates([date(2024, 1, 1)]), Dates),
            (Computed(3), Computed),
            ((), tuple[()]),
            ((1, 2, 3), tuple[int, ...]),
            ((1, "x"), tuple),
            ((), tuple),
            ([[1.5, 2.0]], list[list[float]]),
            ({"a": (1, 2)}, dict[str, tuple[int, int]]),
            ({"a": 1}, Mapping[str, int]),
            ([1], Sequence[int]),
            (frozenset({"a"}), AbstractSet[str]),
            (frozenset({(1, 2)}), frozenset[tuple[int, int]]),
            ({None, 1, "a"}, set),
            ({Region.NORTH: 1}, dict[Region, int]),
            (OrderedDict(b=1, a=2), OrderedDict[str, int]),
            (Counter("aab"), Counter[str]),
            (5, UserId),
            (5, Annotated[int, "unhashable", []]),
            (5, Literal[5, "x"]),
            (True, Literal[1, True]),
            (Region.NORTH, Literal[Region.NORTH]),
            (Name("x"), Name),
            (None, None),
            (1, int | float | str | None),
            (1.0, int | float | str | None),
            ("1", int | float | str | None),
            (Dog("rex"), Cat | Dog),
            ([Cat("tom"), Dog("rex")], list[Cat | Dog]),
            (date(2024, 1, 1), date | datetime),
            (datetime(2024, 1, 1), date | datetime),
            ([], list[int] | list[str]),
            (["a"], Union[list[int], list[str]]),  # noqa: UP007 - both spellings are read
            (
                Model(ID=3, when=date(2024, 1, 1), by_number={1: Decimal("1.0")}, tree=Tree(1)),
                Model,
            ),
            ([Node(label="a", payload=b"x", members={1}, next=Node(label="b"))], list[Node]),
            (Node(label="a", extra="kept"), Node),
        ],
        # A set has no order that two processes agree on.
        ids=lambda value: "a set" if isinstance(value, set) else repr(value)[:40],
    )
    def test_equal_and_of_its_type(self, value, annotation) -> None:
        again = round_trip(value, annotation)

        assert again == value
        assert type(again) is type(value)

    def test_a_type_variable_with_constraints_or_a_bound(self) -> None:
        constrained = TypeVar("constrained", int, str)
        bound = TypeVar("bound", bound=date)

        assert round_trip("x", constrained) == "x"
        assert round_trip(date(2024, 1, 1), bound) == date(2024, 1, 1)

    @pytest.mark.parametrize("annotation", [object, Any, JsonValue, T, JsonValue | None])
    def test_without_an_annotation_it_is_plain_json(self, annotation) -> None:
        assert round_trip(Point(1, date(2024, 1, 1)), annotation) == [1, "2024-01-01", "here"]

    def test_a_whole_number_is_a_float_to_who_asks_for_one(self) -> None:
        assert repr(round_trip([1, 2.5], list[float])) == "[1.0, 2.5]"

    @pytest.mark.parametrize("value", [2**53 + 1, 10**400])
    def test_a_whole_number_that_no_float_holds_is_refused(self, value) -> None:
        with pytest.raises(ValueNotReadableError):
            round_trip(value, float)

    def test_numbers_that_are_subclasses_are_their_numbers(self) -> None:
        class Meters(float):
            __slots__ = ()

        assert round_trip([Meters(1.5)], list[float]) == [1.5]
        assert round_trip(Meters(1.5), Meters) == Meters(1.5)

    def test_a_default_dictionary_is_its_entries(self) -> None:
        assert round_trip(defaultdict(int, a=1), dict[str, int]) == {"a": 1}

    def test_sets_are_written_in_one_order(self, codec) -> None:
        assert codec.encode({"c", "a", "b"}) == '["a","b","c"]'

    def test_a_new_field_with_a_default_reads_old_values(self, codec) -> None:
        assert codec.decode('{"value":1}', Tree) == Tree(1)

    def test_a_local_class_that_refers_to_itself(self) -> None:
        @dataclass
        class Local:
            next: "Local | None" = None

        assert round_trip(Local(Local()), Local) == Local(Local())

    @pytest.mark.skipif(sys.version_info < (3, 12), reason="type statements are new in 3.12")
    def test_a_named_alias(self) -> None:
        alias = getattr(typing, "TypeAliasType")("alias", list[date])  # noqa: B009 - 3.12

        assert round_trip([date(2024, 1, 1)], alias) == [date(2024, 1, 1)]


JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.text(st.characters(min_codepoint=1, exclude_categories=["Cs"])), inner, max_size=4
        ),
    ),
    max_leaves=12,
)


def same(one: object, other: object) -> bool:
    return repr(one) == repr(other)


class TestAnyValueComesBack:
    @given(JSON)
    def test_json(self, value: object) -> None:
        assert same(round_trip(value, object), value)

    @given(st.timedeltas())
    def test_durations(self, value: timedelta) -> None:
        assert round_trip(value, timedelta) == value

    @given(st.datetimes(timezones=st.timezones()))
    def test_datetimes_in_any_zone(self, value: datetime) -> None:
        again = round_trip(value, datetime)

        assert isinstance(again, datetime)
        assert again.replace(tzinfo=None) == value.replace(tzinfo=None)
        assert again.utcoffset() == value.utcoffset()

    @given(st.decimals(allow_nan=False, allow_infinity=False))
    def test_decimals_digit_for_digit(self, value: Decimal) -> None:
        assert same(round_trip(value, Decimal), value)

    @given(st.builds(Tree, st.integers(), st.lists(st.builds(Tree, st.integers()), max_size=3)))
    def test_dataclasses(self, value: Tree) -> None:
        assert round_trip(value, Tree) == value

    @given(st.one_of(st.text(), st.lists(st.text()), st.dictionaries(st.text(), st.floats())))
    def test_or_is_refused(self, value: object) -> None:
        try:
            text = JsonCodec().encode(value)
        except ValueNotStorableError:
            assert any(c == "\0" or "\ud800" <= c <= "\udfff" for c in str(value)) or (
                (isinstance(value, dict) and not all(map(math.isfinite, value.values())))
                or "\\x00" in repr(value)
                or "\\ud" in repr(value)
            )
        else:
            assert same(JsonCodec().decode(text), value)
            text.encode("utf-8")


class TestReaders:
    def test_an_annotation_is_compiled_once(self) -> None:
        readers = Readers()

        assert readers.of(Tree) is readers.of(Tree)

    def test_how_many_are_kept_is_bounded(self) -> None:
        readers = Readers()

        for n in range(MAX_READERS + 50):
            readers.of(Literal[n])

        assert len(readers.known) <= MAX_READERS

    def test_threads_may_compile_at_once(self) -> None:
        codec, barrier, results = JsonCodec(), threading.Barrier(8), []
        text = codec.encode(Tree(1, [Tree(2)]))

        def read() -> None:
            barrier.wait()
            results.append(codec.decode(text, Tree))

        threads = [threading.Thread(target=read) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert results == [Tree(1, [Tree(2)])] * 8
