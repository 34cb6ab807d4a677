"""What every codec has to do."""

import json
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from uuid import UUID

import pytest

from flowstone.core.contracts.codec import Codec
from flowstone.core.errors import ValueNotReadableError, ValueNotStorableError


class Color(Enum):
    """An enum in a value."""

    RED = "red"
    BLUE = "blue"


@dataclass
class Line:
    """A dataclass in a dataclass."""

    name: str
    amount: Decimal
    tags: list[str] = field(default_factory=list)


@dataclass
class Order:
    """A value as authors return them."""

    id: UUID
    placed_at: datetime
    due: date | None
    color: Color
    lines: list[Line]


ORDER = Order(
    UUID("6f1b8a52-6a35-4f2f-9a40-3b9a3d1c1f10"),
    datetime(2024, 1, 1, 5, 30, 0, 120, tzinfo=UTC),
    None,
    Color.BLUE,
    [Line("nails", Decimal("1.10"), ["steel"]), Line("wood", Decimal("-0.0"))],
)


def _in_one_another(levels: int) -> object:
    value: object = 1
    for _ in range(levels):
        value = [value]
    return value


def _containing_itself() -> object:
    value: dict[str, object] = {}
    value["again"] = [value]
    return value


class CodecContract:
    """
    Subclass it with the fixture ``codec``.

    The types that a codec knows beyond these are its own affair.
    """

    @pytest.fixture
    def codec(self) -> Codec:
        """Give the codec."""
        raise NotImplementedError(f"{type(self).__name__} has to define the fixture `codec`")

    @pytest.mark.parametrize(
        ("value", "annotation"),
        [
            (None, type(None)),
            (True, bool),
            (0, int),
            (-(2**70), int),
            (1.5, float),
            ("", str),
            ('grün 🙂 \\u0000 " \n', str),
            ([1, 2], list[int]),
            ({"a": {"b": [None]}}, object),
            ((1, "x"), tuple[int, str]),
            ({1, 2}, set[int]),
            (date(2024, 1, 1), date),
            (datetime(2024, 1, 1, 12), datetime),
            (timedelta(days=-1, microseconds=1), timedelta),
            (Decimal("1.10"), Decimal),
            (b"\x00\xff", bytes),
            (None, int | None),
            (3, int | None),
            ([Color.RED], list[Color]),
            (ORDER, Order),
        ],
        ids=repr,
    )
    def test_what_it_encodes_comes_back_equal(
        self, codec: Codec, value: object, annotation: object
    ) -> None:
        again = codec.decode(codec.encode(value), annotation)

        assert again == value
        assert type(again) is type(value)

    def test_the_text_is_json_without_nul(self, codec: Codec) -> None:
        text = codec.encode({"umlaut": "ü", "n": [1, None]})

        assert json.loads(text) == {"umlaut": "ü", "n": [1, None]}
        assert "\0" not in text

    def test_the_order_of_keys_is_kept(self, codec: Codec) -> None:
        again = codec.decode(codec.encode({"b": 1, "a": 2}))

        assert isinstance(again, dict)
        assert list(again) == ["b", "a"]

    def test_the_sign_of_zero_is_kept(self, codec: Codec) -> None:
        assert str(codec.decode(codec.encode(-0.0), float)) == "-0.0"

    def test_without_an_annotation_the_value_is_plain_json(self, codec: Codec) -> None:
        assert codec.decode(codec.encode((date(2024, 1, 1),))) == ["2024-01-01"]

    @pytest.mark.parametrize(
        "value",
        [
            "nul \0",
            {"nul \0": 1},
            "lone \ud800",
            float("nan"),
            [float("inf")],
            {"a": float("-inf")},
            {1: "a key that is no text"},
            {None: 1},
            object(),
            [lambda: None],
            int,
            _in_one_another(201),
            _containing_itself(),
        ],
        ids=lambda value: type(value).__name__,
    )
    def test_what_would_come_back_changed_is_refused(self, codec: Codec, value: object) -> None:
        with pytest.raises(ValueNotStorableError):
            codec.encode(value)

    def test_a_refusal_says_where_in_the_value(self, codec: Codec) -> None:
        with pytest.raises(ValueNotStorableError) as caught:
            codec.encode({"items": [1, {"name": object()}]})

        assert caught.value.path == "$.items[1].name"
        assert caught.value.why
        assert caught.value.advice

    def test_two_hundred_levels_are_kept(self, codec: Codec) -> None:
        value = _in_one_another(200)

        assert codec.decode(codec.encode(value)) == value

    def test_size_is_counted_in_bytes(self, codec: Codec) -> None:
        text = codec.encode("üü")
        size = len(text.encode("utf-8"))

        assert codec.encode("üü", max_bytes=size) == text
        with pytest.raises(ValueNotStorableError, match=str(size)):
            codec.encode("üü", max_bytes=size - 1)

    @pytest.mark.parametrize(
        ("text", "annotation"),
        [
            ("", object),
            ("{", object),
            ("1 2", int),
            ("NaN", float),
            ("[" * 100_000, object),
            ('"x"', int),
            ("1", str),
            ("true", int),
            ("1", bool),
            ("1.0", int),
            ("null", int),
            ("{}", list),
            ("[1]", list[str]),
            ('"2024-13-01"', date),
            ('"green"', Color),
            ('{"name": "nails"}', Line),
            ('{"name": "nails", "amount": "1", "unknown": 1}', Line),
            ("1", object()),
        ],
        ids=lambda value: str(value)[:20],
    )
    def test_what_does_not_fit_the_annotation_is_an_error(
        self, codec: Codec, text: str, annotation: object
    ) -> None:
        with pytest.raises(ValueNotReadableError):
            codec.decode(text, annotation)

    def test_an_unreadable_value_says_where(self, codec: Codec) -> None:
        with pytest.raises(ValueNotReadableError) as caught:
            codec.decode(
                '[{"name": "nails", "amount": "1"}, {"name": 3, "amount": "1"}]', list[Line]
            )

        assert caught.value.path == "$[1].name"
