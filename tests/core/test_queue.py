"""What code says about queues is checked when the application is built."""

import pytest

from flowstone import FlowStone, Queue
from flowstone.core.errors import InvalidOptionError
from flowstone.core.slots import Slots


class TestCode:
    @pytest.mark.parametrize(
        ("queue", "told"),
        [
            (Queue(max_running=0), "pause the queue"),
            (Queue(max_running=True), "whole number"),
            (Queue(rate="often"), "'10/s'"),
            ("10/s", "must be a Queue"),
        ],
    )
    def test_that_is_wrong_is_told_with_the_queue(self, queue: Queue, told: str) -> None:
        with pytest.raises(InvalidOptionError, match=told) as raised:
            FlowStone([], queues={"mail": queue})
        assert "'mail'" in str(raised.value)

    def test_a_name_that_is_no_queues_is_refused(self) -> None:
        with pytest.raises(InvalidOptionError, match="at most 40 bytes"):
            FlowStone([], queues={"q" * 41: Queue()})


class TestSlots:
    def test_scaled_up_are_free_at_once(self) -> None:
        slots = Slots({"a": 2})
        assert slots.scale({"a": 10, "b": 5})
        assert slots.total == {"a": 10}
        assert slots.offer() == {"a": 5}

    def test_scaled_below_what_runs_are_free_when_enough_has_ended(self) -> None:
        slots = Slots({"a": 4, "b": 1})
        assert slots.offer() == {"a": 2, "b": 1}
        slots.scale({"a": 1, "b": 0})
        assert (slots.free, slots.offer()) == (0, {})
        slots.give_back("a")
        slots.give_back("b")
        assert (slots.free, slots.offer()) == (0, {})
        slots.give_back("a")
        assert slots.offer() == {"a": 1}

    def test_that_nobody_speaks_of_are_as_they_began(self) -> None:
        slots = Slots({"a": 4})
        slots.scale({"a": 0})
        assert slots.scale({})
        assert not slots.scale({})
        assert slots.free == 4
