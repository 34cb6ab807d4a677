"""Until when an item may start, where a rate gives it a time."""

from datetime import timedelta

import pytest

from flowstone.plugins.scatter.records import BarrierState, Handed, Turned
from flowstone.plugins.scatter.slots import NEVER, Slots

PERIOD = timedelta(seconds=1)


def answered(slack: timedelta | None = 0.055 * PERIOD) -> Turned:
    handed = Handed((1, 1), (0, 1), (0, 0), ("0", "1"), ("0", "1"))
    return Turned(
        BarrierState.EXECUTING,
        start_in=timedelta(0),
        spacing=timedelta(seconds=0.1),
        slack=slack,
        handed=handed,
    )


def test_items_start_one_after_the_other() -> None:
    pieces = [*Slots().pieces(answered(), 5.0, 5.0)]

    assert [it.start_at for it in pieces] == [5.0, 5.1]
    assert [it.late_at for it in pieces] == pytest.approx([5.055, 5.155])


def test_a_first_answer_that_was_slow_leaves_less_time() -> None:
    [first, _] = Slots().pieces(answered(), 5.0, 5.2)

    assert first.late_at < first.start_at


def test_what_answers_always_take_makes_nothing_late() -> None:
    slots = Slots()
    for _ in range(3):
        [first, _] = slots.pieces(answered(), 5.0, 5.2)

    assert first.late_at == pytest.approx(5.255)


def test_within_short_periods_nothing_is_too_late() -> None:
    assert {it.late_at for it in Slots().pieces(answered(None), 5.0, 5.2)} == {NEVER}
