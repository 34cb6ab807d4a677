import base64
import json
import math
from datetime import UTC, date, datetime, timedelta, timezone
from enum import Enum, IntEnum, StrEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowstone.core.errors import InvalidPartitionError
from flowstone.core.partition import MAX_BYTES, decode, encode
from tests.opaque import Opaque

NEW_YEAR = date(2024, 1, 1)
MIDNIGHT = datetime(2024, 1, 1, tzinfo=UTC)
NAIVE = datetime(2024, 1, 1, 12, 30)
PLUS_FIVE = timezone(timedelta(hours=5))


def tuple_text(elements: object) -> str:
    """Return the text of a tuple whose JSON is this."""
    payload = elements if isinstance(elements, str) else json.dumps(elements)
    return "t:" + base64.urlsafe_b64encode(payload.encode()).decode().rstrip("=")


class TestTheOriginalsCases:
    @pytest.mark.conformance(1)
    def test_a_date(self) -> None:
        assert encode(NEW_YEAR) == "d:2024-01-01"

    @pytest.mark.conformance(2)
    def test_a_utc_datetime_ends_in_z(self) -> None:
        assert encode(MIDNIGHT) == "dt:2024-01-01T00:00:00Z"

    @pytest.mark.conformance(3)
    def test_a_naive_datetime(self) -> None:
        assert encode(NAIVE) == "ndt:2024-01-01T12:30:00"

    @pytest.mark.conformance(4)
    def test_a_tuple_with_a_date(self) -> None:
        text = "t:WyJ0ZW5hbnQiLCJyZWdpb24iLHsiX3R5cGUiOiJkYXRlIiwidiI6IjIwMjQtMDEtMDEifV0"

        assert encode(("tenant", "region", NEW_YEAR)) == text
        assert decode(text) == ("tenant", "region", NEW_YEAR)

    @pytest.mark.conformance(5)
    def test_a_tuple_that_begins_with_a_date(self) -> None:
        text = "t:W3siX3R5cGUiOiJkYXRlIiwidiI6IjIwMjQtMDEtMDEifSwidGVuYW50Il0"

        assert encode((NEW_YEAR, "tenant")) == text
        assert decode(text) == (NEW_YEAR, "tenant")

    @pytest.mark.conformance(6)
    def test_a_nested_tuple(self) -> None:
        text = "t:W3siX3R5cGUiOiJ0dXBsZSIsInYiOlsiYSIsImIiXX0sImMiXQ"

        assert encode((("a", "b"), "c")) == text
        assert decode(text) == (("a", "b"), "c")
        assert encode(()) == "t:W10"
        assert decode("t:W10") == ()

    @pytest.mark.conformance(7)
    def test_a_tuple_of_one(self) -> None:
        assert encode(("a",)) == "t:WyJhIl0"
        assert decode("t:WyJhIl0") == ("a",)

    @pytest.mark.conformance(8)
    @pytest.mark.parametrize("value", ["simple", "tenant_123"])
    def test_a_plain_string_is_itself(self, value) -> None:
        assert encode(value) == value
        assert decode(value) == value

    @pytest.mark.conformance(9)
    def test_a_string_with_colons(self) -> None:
        assert encode("value:with:colons") == "s:dmFsdWU6d2l0aDpjb2xvbnM"
        assert decode("s:dmFsdWU6d2l0aDpjb2xvbnM") == "value:with:colons"

    @pytest.mark.conformance(10)
    def test_a_string_with_pipes_is_no_tuple(self) -> None:
        assert encode("value|with|pipes") == "s:dmFsdWV8d2l0aHxwaXBlcw"
        assert decode("s:dmFsdWV8d2l0aHxwaXBlcw") == "value|with|pipes"

    @pytest.mark.conformance(11)
    def test_none_is_the_empty_text(self) -> None:
        assert encode(None) == ""
        assert decode(None) is None
        assert decode("") is None

    @pytest.mark.conformance(12)
    def test_numbers_and_identifiers_keep_their_text(self) -> None:
        class Name(StrEnum):
            FOO = "foo"

        assert (encode(123), encode(Name.FOO)) == ("123", "foo")
        assert (decode("123"), decode("foo")) == ("123", "foo")

    @pytest.mark.conformance(13)
    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("2024-01-01", NEW_YEAR),
            ("2024-01-01T00:00:00Z", MIDNIGHT),
            ("2024-01-01T12:30:00", NAIVE),
            ("tenant|region|2024-01-01", ("tenant", "region", NEW_YEAR)),
        ],
    )
    def test_what_older_versions_wrote_is_read(self, text, value) -> None:
        assert decode(text) == value

    @pytest.mark.conformance(14)
    @pytest.mark.parametrize("value", [NEW_YEAR, MIDNIGHT, ("a", NEW_YEAR)])
    def test_a_structured_value_is_returned_as_it_is(self, value) -> None:
        assert decode(value) is value

    @pytest.mark.conformance(15)
    def test_an_offset_is_kept(self) -> None:
        value = datetime(2024, 1, 1, 5, tzinfo=PLUS_FIVE)

        again = decode(encode(value))

        assert encode(value) == "dt:2024-01-01T05:00:00+05:00"
        assert again == value == MIDNIGHT
        assert again.utcoffset() == timedelta(hours=5)

    @pytest.mark.conformance(24)
    def test_datetimes_in_tuples(self) -> None:
        assert encode((MIDNIGHT,)) == (
            "t:W3siX3R5cGUiOiJkYXRldGltZSIsInYiOiIyMDI0LTAxLTAxVDAwOjAwOjAwWiJ9XQ"
        )
        assert encode((NAIVE,)) == (
            "t:W3siX3R5cGUiOiJuYWl2ZV9kYXRldGltZSIsInYiOiIyMDI0LTAxLTAxVDEyOjMwOjAwIn1d"
        )

    @pytest.mark.conformance(28)
    def test_a_tuple_and_strings_that_look_like_it_differ(self) -> None:
        assert len({encode(("a", "b")), encode("a|b"), encode("a:b")}) == 3


DATETIMES = st.datetimes(
    timezones=st.one_of(
        st.none(),
        st.integers(-86_399, 86_399).map(lambda seconds: timezone(timedelta(seconds=seconds))),
    )
)
TEXTS = st.text(max_size=6).filter(lambda text: "\0" not in text)
NUMBERS = st.one_of(
    st.integers(-(10**30), 10**30), st.floats(allow_nan=False, allow_infinity=False)
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), TEXTS, NUMBERS, st.dates(), DATETIMES),
    lambda inner: st.lists(inner, max_size=3).map(tuple),
    max_leaves=4,
)


def exact(value: object) -> object:
    """Tell apart what ``==`` does not: True and 1, 1 and 1.0, 0.0 and -0.0, offsets."""
    if isinstance(value, tuple):
        return tuple(map(exact, value))
    if isinstance(value, float):
        return float, value, math.copysign(1, value)
    if isinstance(value, datetime):
        return datetime, value, value.utcoffset()
    return type(value), value


class TestEveryValueComesBack:
    @given(st.one_of(TEXTS, st.dates(), DATETIMES))
    def test_texts_dates_and_datetimes(self, value: object) -> None:
        assert exact(decode(encode(value))) == exact(value)

    @given(st.lists(VALUES, max_size=3).map(tuple))
    def test_tuples(self, value: tuple[object, ...]) -> None:
        assert exact(decode(encode(value))) == exact(value)

    @given(st.one_of(st.booleans(), NUMBERS, TEXTS, st.dates(), DATETIMES))
    def test_scalars_of_a_declared_type(self, value: object) -> None:
        assert exact(decode(encode(value), type(value))) == exact(value)

    @given(TEXTS, TEXTS)
    def test_two_strings_have_two_texts(self, one: str, other: str) -> None:
        assert (encode(one) == encode(other)) == (one == other)

    @pytest.mark.parametrize(
        "value",
        ["", "2024-01-01", "2024-99-99", "2024-01-01T00:00:00", "d:2024-01-01", "s:", "t:x"],
    )
    def test_strings_that_look_like_something_else(self, value) -> None:
        assert encode(value).startswith("s:")
        assert decode(encode(value)) == value

    def test_a_zero_offset_is_utc_whatever_the_zone_is_called(self) -> None:
        assert encode(MIDNIGHT.replace(tzinfo=timezone(timedelta(0), "GMT"))).endswith("Z")

    def test_fractions_of_a_second_are_kept(self) -> None:
        assert encode(NAIVE.replace(microsecond=120)) == "ndt:2024-01-01T12:30:00.000120"


class TestADeclaredType:
    @pytest.mark.parametrize(
        ("text", "kind", "value"),
        [
            ("123", int, 123),
            ("-5", int, -5),
            ("true", bool, True),
            ("1.5", float, 1.5),
            ("-0.0", float, -0.0),
            ("123", str, "123"),
            ("2024-01-01", str, "2024-01-01"),
            ("a|b", str, "a|b"),
            ("s:", str, ""),
            ("2024-01-01", date, NEW_YEAR),
            ("", int, None),
        ],
    )
    def test_brings_the_value_back_typed(self, text, kind, value) -> None:
        assert exact(decode(text, kind)) == exact(value)

    @pytest.mark.parametrize(
        ("text", "kind"),
        [
            ("007", int),
            ("+7", int),
            ("1_000", int),
            (" 7", int),
            ("٧", int),
            ("1.0", int),
            ("7", float),
            ("nan", float),
            ("inf", float),
            ("True", bool),
            ("1", bool),
            ("d:2024-01-01", str),
            ("t:W10", str),
            ("d:2024-01-01", datetime),
            ("dt:2024-01-01T00:00:00Z", date),
            ("simple", date),
            ("simple", tuple),
            ("d:2024-01-01", int),
            ("x", dict),
            ("x", tuple[str, int]),
            (True, int),
            (1, bool),
            (MIDNIGHT, date),
        ],
    )
    def test_refuses_a_text_of_another(self, text, kind) -> None:
        with pytest.raises(InvalidPartitionError):
            decode(text, kind)

    def test_may_be_an_enum_of_texts_or_numbers(self) -> None:
        class Region(StrEnum):
            NORTH = "n:1"

        class Level(IntEnum):
            LOW = 1

        assert decode(encode(Region.NORTH), Region) is Region.NORTH
        assert decode(encode(Level.LOW), Level) is Level.LOW
        with pytest.raises(InvalidPartitionError):
            decode("south", Region)
        with pytest.raises(InvalidPartitionError):
            decode("2", Level)


class Color(Enum):
    RED = "red"


class TestWhatIsRefused:
    @pytest.mark.parametrize(
        "value",
        [
            [1],
            {"a": 1},
            {"_type": "date", "v": "2024-01-01"},
            b"x",
            object(),
            Color.RED,
            timedelta(1),
            datetime(2024, 1, 1, tzinfo=timezone(timedelta(microseconds=1))),
            float("nan"),
            float("inf"),
            ({"_type": "date", "v": "2024-01-01"},),
            ([1],),
            (float("-inf"),),
            (1, (2, object())),
            "nul\0",
            ("nul\0",),
            "lone \ud800",
            ("lone \udfff",),
            "x" * (MAX_BYTES + 1),
            "ü" * MAX_BYTES,
            10 ** (MAX_BYTES + 1),
            10**10_000,
            (10**10_000,),
            ("x" * MAX_BYTES,),
        ],
        ids=lambda value: type(value).__name__,
    )
    def test_by_encoding(self, value) -> None:
        with pytest.raises(InvalidPartitionError):
            encode(value)

    def test_what_is_allowed_is_named(self) -> None:
        with pytest.raises(InvalidPartitionError, match=r"list cannot be .* allowed are None, str"):
            encode([])

    def test_tuples_too_deep_in_one_another(self) -> None:
        value: object = ()
        for _ in range(2000):
            value = (value,)

        with pytest.raises(InvalidPartitionError):
            encode(value)

    @pytest.mark.parametrize(
        "text",
        [
            "d:",
            "d:2024-13-01",
            "d:20240101",
            "d:2024-W01-1",
            "dt:2024-01-01T00:00:00",
            "dt:2024-01-01",
            "dt:2024-01-01T25:00:00Z",
            "ndt:2024-01-01T00:00:00Z",
            "ndt:x",
            "t:",
            "t:!!",
            "t:W10=",
            "t:W1",
            "s:ab=c",
            "s:a",
            "s:/+",
            "s:gA",  # not UTF-8
            "s:AA",  # NUL
            tuple_text({"a": 1}),
            tuple_text("[1"),
            tuple_text("[NaN]"),
            tuple_text("[1e999]"),
            tuple_text([[1]]),
            tuple_text([{}]),
            tuple_text([{"_type": "date", "v": "x"}]),
            tuple_text([{"_type": "date", "v": 3}]),
            tuple_text([{"_type": "pid", "v": "x"}]),
            tuple_text([{"_type": ["date"], "v": "x"}]),
            tuple_text([{"_type": "date", "v": "2024-01-01", "w": 1}]),
            tuple_text('["\\ud800"]'),
            tuple_text('["\\u0000"]'),
            tuple_text("[" * 700),
            tuple_text("[" * 300 + "]" * 300),
            "nul\0",
            "lone \ud800",
            "x" * (MAX_BYTES + 1),
            [],
            {},
            Opaque(),
        ],
        ids=lambda text: ascii(text)[:24],
    )
    def test_by_decoding(self, text) -> None:
        with pytest.raises(InvalidPartitionError):
            decode(text)

    @given(
        st.one_of(st.text(max_size=60), st.text(max_size=30).map("t:".__add__)),
        st.sampled_from([None, str, int, float, bool, date, datetime, tuple]),
    )
    def test_no_text_raises_anything_else(self, text: str, kind: type | None) -> None:
        try:
            value = decode(text, kind)
        except InvalidPartitionError:
            return
        assert exact(decode(encode(value), kind)) == exact(value)
