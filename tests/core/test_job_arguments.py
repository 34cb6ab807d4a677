"""The arguments of a job: bound, checked when enqueued and when run, the same by every way."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from flowstone.core.defaults.json_codec import JsonCodec
from flowstone.core.errors import JobArgumentsError
from flowstone.core.job_arguments import JobArguments
from flowstone.core.parameters import NOT_GIVEN, OwnArgument
from flowstone.core.unique import Unique

CODEC = JsonCodec()


def taking(**wanted: object) -> JobArguments:
    """Make the arguments of a job: annotations by name, or (annotation, default)."""
    own = [
        OwnArgument(name, *(it if isinstance(it, tuple) else (it, NOT_GIVEN)), keyword_only=False)
        for name, it in wanted.items()
    ]
    return JobArguments("shop.mail", own)


PLAIN = taking(to=str, copies=int, urgent=(bool, False), share=(float, 0.5))


@dataclasses.dataclass
class Address:
    street: str


@dataclasses.dataclass
class Parcel:
    weight: float


MIXED = taking(to=str, address=(Address | None, None))


@pytest.mark.parametrize("takes", [PLAIN, MIXED], ids=["plain", "mixed"])
def test_arguments_that_do_not_fit_are_refused(takes: JobArguments) -> None:
    for args, kwargs in [((), {}), ((), {"to": "a", "whom": "b"}), (("a",), {"to": "b"})]:
        with pytest.raises(JobArgumentsError, match="it takes: to"):
            takes.bind(args, kwargs)


def test_arguments_are_in_the_order_of_the_function_however_they_were_given() -> None:
    one = PLAIN.bind((), {"copies": 2, "to": "ann"})
    other = PLAIN.bind(("ann", 2), {})

    assert list(one.items()) == list(other.items()) == [("to", "ann"), ("copies", 2)]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("to", 1),
        ("to", None),
        ("copies", "1"),
        ("copies", 1.0),
        ("copies", True),
        ("copies", None),
        ("urgent", 1),
        ("urgent", "yes"),
        ("share", "0.5"),
        ("share", float("nan")),
        ("to", "a\0b"),
        ("to", "\ud800"),
        pytest.param("copies", 10**5000, id="copies-endless"),
    ],
)
def test_a_value_of_another_type_is_refused_when_enqueued(name: str, value: object) -> None:
    given: Mapping[str, object] = {"to": "ann", "copies": 1} | {name: value}

    with pytest.raises(JobArgumentsError, match=name):
        PLAIN.encode(given, CODEC)


@pytest.mark.parametrize(
    ("takes", "given", "read"),
    [
        (PLAIN, {"to": "ann", "copies": 1}, {"urgent": False, "share": 0.5}),
        (PLAIN, {"to": 'ä"\n', "copies": -(2**70), "urgent": True, "share": 1e-9}, {}),
        (MIXED, {"to": "ann"}, {"address": None}),
        (MIXED, {"to": "ann", "address": Address("1 Elm")}, {}),
        (taking(), {}, {}),
    ],
    ids=["defaults", "all", "mixed-default", "mixed", "nothing"],
)
def test_arguments_come_back_as_they_were(
    takes: JobArguments, given: dict[str, object], read: dict[str, object]
) -> None:
    back = takes.decode(takes.encode(given, CODEC), CODEC)

    assert back == given | read
    assert list(back) == list(takes.decode(takes.encode(back, CODEC), CODEC))
    assert {k: type(v) for k, v in back.items()} == {k: type(v) for k, v in (given | read).items()}


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        '{"to": "ann"}',
        '{"to": "ann", "copies": "1"}',
        '{"to": "ann", "copies": true}',
        '{"to": "ann", "copies": 1, "whom": "bob"}',
        '["ann", 1]',
        "null",
        "{",
    ],
)
def test_what_the_function_takes_no_longer_is_refused_when_run(text: str) -> None:
    with pytest.raises(JobArgumentsError, match=r"shop\.mail"):
        PLAIN.decode(text, CODEC)


@pytest.mark.parametrize("by", [None, ["it"], ["to", "it"]], ids=str)
@pytest.mark.parametrize(
    ("wanted", "same"),
    [
        ((int, 1), [1]),
        ((float, 1), [1, 1.0]),
        ((float, 2**53), [float(2**53)]),
        ((float, 10**20), [1e20, 10**20]),
        ((float | None, 1), [1, 1.0]),
        ((Parcel, Parcel(1)), [Parcel(1), Parcel(1.0)]),
        ((tuple[float, ...], (1, 2)), [(1.0, 2.0), (1, 2)]),
        # What does not fit its annotation is what it is.
        ((int, None), []),
        ((int, True), []),
    ],
    ids=str,
)
def test_what_is_left_to_a_default_makes_the_same_key_and_lane(
    wanted: tuple[object, object], same: list[object], by: list[str] | None
) -> None:
    unique = Unique(by=by)
    takes = taking(to=str, it=wanted)

    def key(given: Mapping[str, object]) -> str:
        return takes.key(given, takes.encode(given, CODEC), unique, CODEC).key

    def full(given: Mapping[str, object]) -> str:
        return takes.full(given, takes.encode(given, CODEC), CODEC)

    given = [{"to": "ann"}, *({"to": "ann", "it": it} for it in same)]
    assert len(set(map(key, given))) == 1
    assert len(set(map(full, given))) == 1
    assert takes.decode(takes.encode(given[0], CODEC), CODEC)["it"] is wanted[1]


def test_a_default_beside_arguments_that_are_not_plain_does_so_too() -> None:
    takes = taking(address=Address, weight=(float, 1))
    given: list[dict[str, object]] = [
        {"address": Address("1 Elm")},
        {"address": Address("1 Elm"), "weight": 1.0},
    ]

    keys = {takes.key(it, takes.encode(it, CODEC), Unique(), CODEC) for it in given}
    assert len(keys) == 1


def test_a_whole_number_that_waits_for_a_float_comes_as_one() -> None:
    back = PLAIN.decode('{"to": "ann", "copies": 1, "share": 1}', CODEC)

    assert type(back["share"]) is float


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Count how often the codec reads by annotation."""
    seen: list[object] = []
    read = JsonCodec.decode

    def counted(self: JsonCodec, text: str, annotation: Any = object) -> object:
        seen.append(annotation)
        return read(self, text, annotation)

    monkeypatch.setattr(JsonCodec, "decode", counted)
    return lambda: len(seen)


def test_plain_arguments_are_not_read_to_be_checked(reads: Callable[[], int]) -> None:
    PLAIN.encode({"to": "ann", "copies": 1}, CODEC)
    assert reads() == 0

    MIXED.encode({"to": "ann", "address": None}, CODEC)
    assert reads() == 1
