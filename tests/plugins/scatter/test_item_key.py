"""What tells items apart."""

import json
import re
from datetime import UTC, datetime

import pytest

from flowstone.core.json_value import JsonValue
from flowstone.plugins.scatter import item_key
from flowstone.plugins.scatter.errors import InvalidItemKeyError
from flowstone.plugins.scatter.options import ScatterOptions
from flowstone.plugins.scatter.records import BarrierState, BarrierStatus


@pytest.mark.conformance(194)
def test_the_order_of_names_does_not_matter() -> None:
    assert item_key.serialize({"b": 2, "a": 1}) == item_key.serialize({"a": 1, "b": 2})
    assert item_key.serialize({"b": 2, "a": 1}) == '{"a":1,"b":2}'


@pytest.mark.conformance(195, 196, 197)
@pytest.mark.parametrize(
    ("key", "digits"),
    [
        ({"url": "https://example.com"}, "5dc5c505a79bfc2e"),
        ({"a": 1, "b": 2}, "43258cff783fe703"),
        ({"value": 1}, "48208f9428d64634"),
        ({}, "44136fa355b3678a"),
        ({"k": "héllo"}, "d3352a192f21ed49"),
    ],
)
def test_a_hash_is_sixteen_digits_that_do_not_change(key: object, digits: str) -> None:
    assert item_key.hash_of(key) == digits
    assert re.fullmatch("[0-9a-f]{16}", digits)


@pytest.mark.conformance(198)
def test_names_become_text_at_every_level() -> None:
    assert item_key.normalize({1: {True: [{None: 2}]}}) == {"1": {"true": [{"null": 2}]}}


@pytest.mark.conformance(199)
def test_a_key_comes_back() -> None:
    key: JsonValue = {"url": "https://example.com", "page": 1}

    assert item_key.deserialize(item_key.serialize(key)) == key
    assert item_key.deserialize(key) == key


@pytest.mark.conformance(200)
def test_keys_are_equal_by_what_they_say() -> None:
    assert item_key.are_equal({"a": 1, "b": 2}, {"b": 2, "a": 1})
    assert not item_key.are_equal({"a": 1, "b": 2}, {"a": 1, "b": 3})


@pytest.mark.conformance(253)
@pytest.mark.parametrize(
    "key", [object(), {"a": {1, 2}}, {1: "a", "1": "b"}, float("nan"), "\ud800"]
)
def test_what_is_no_json_is_refused_by_name(key: object) -> None:
    with pytest.raises(InvalidItemKeyError):
        item_key.serialize(key)


@pytest.mark.conformance(201)
def test_without_a_word_all_options_have_defaults() -> None:
    assert ScatterOptions().to_map() == {
        "max_concurrent": "unlimited",
        "rate_limit": None,
        "failure_threshold": 0.0,
        "failure_mode": "all_or_nothing",
        "retry_strategy": "individual",
        "max_attempts": 3,
        "timeout": 1_800_000,
        "mode": "inline",
        "batch_size": None,
        "max_batches": None,
        "queue": None,
        "priority": None,
    }


@pytest.mark.conformance(202, 203, 209)
def test_options_come_back_as_they_were_stored() -> None:
    options = ScatterOptions.of(
        max_concurrent=50, rate_limit="10/s", failure_threshold=0.05, failure_mode="partial"
    )
    endless = ScatterOptions.of(timeout=None)

    assert options.to_map()["rate_limit"] == [10, "second"]
    assert ScatterOptions.from_map(json.loads(json.dumps(options.to_map()))) == options
    assert endless.to_map()["timeout"] == "infinity"
    assert ScatterOptions.from_map(endless.to_map()) == endless
    assert ScatterOptions.from_map({}) == ScatterOptions()


def status_of(total: int, completed: int, failed: int) -> BarrierStatus:
    return BarrierStatus(
        1, 1, "sales.items", "", BarrierState.EXECUTING, total, completed, failed, 0, True, None,
        ScatterOptions(), None, datetime.now(UTC), None,
    )  # fmt: skip


@pytest.mark.conformance(220, 221, 222, 245)
def test_a_status_says_how_far_it_is() -> None:
    assert status_of(100, 25, 5).progress == 30.0
    assert not status_of(10, 5, 0).is_complete
    assert status_of(10, 8, 2).is_complete
    assert status_of(100, 0, 5).failure_rate == 0.05
    assert (status_of(0, 0, 0).progress, status_of(0, 0, 0).failure_rate) == (0.0, 0.0)
