"""Outcomes of a strategy that make no sense, and those that only look so."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from flowstone import Pipeline, Skip
from flowstone.core.asset import Definition
from flowstone.core.contracts.strategy import Execution, Strategy
from flowstone.core.outcome import Failed, Outcome, Skipped, Snoozed, Stored, Waiting, Wake
from tests.application.conftest import AppOf
from tests.application.stage import (
    drain,
    statuses,
)


class Says(Strategy):
    """Returns what it is given, sense or not."""

    def __init__(self, outcome: Callable[[], Any]) -> None:
        self.outcome = outcome

    async def start(self, execution: Execution) -> Outcome:
        return self.outcome()  # type: ignore[no-any-return]

    async def resume(self, execution: Execution, wake: Wake) -> Outcome:
        return self.outcome()  # type: ignore[no-any-return]


MISTAKES: dict[str, Callable[[], Any]] = {
    "nothing": lambda: None,
    "a value": lambda: "done",
    "a class": lambda: Stored,
    "an endless timeout": lambda: Waiting("signal", timeout=timedelta.max),
    "a negative timeout": lambda: Waiting("signal", timeout=timedelta(seconds=-1)),
    "a state that is not JSON": lambda: Waiting("signal", state=object()),  # type: ignore[arg-type]
    "waiting for NUL": lambda: Waiting("a\0b"),
    "waiting for a number": lambda: Waiting(7),  # type: ignore[arg-type]
    "waiting for nothing": lambda: Waiting(""),
    "an endless delay": lambda: Snoozed(timedelta.max),
    "a negative delay": lambda: Snoozed(timedelta(days=-(10**6))),
    "a failure without an error": lambda: Failed("no exception"),  # type: ignore[arg-type]
    "a cancellation": lambda: Failed(asyncio.CancelledError()),
}


class TestMistakes:
    @pytest.mark.parametrize("outcome", MISTAKES.values(), ids=MISTAKES)
    async def test_an_outcome_that_makes_no_sense_fails_its_asset_alone(
        self, app_of: AppOf, outcome: Callable[[], Any]
    ) -> None:
        p = Pipeline("p")
        definition: Definition[..., int] = Definition(lambda: 1, strategy=Says(outcome))
        p.asset(name="odd")(definition)
        p.asset(name="apart")(lambda: "fine")
        app = await app_of(p)
        handle = await app.enqueue_many(["odd", "apart"])

        await asyncio.wait_for(drain(app), 10)

        assert await statuses(app, handle.run_id) == {"odd": "failed", "apart": "succeeded"}

    @pytest.mark.parametrize("reason", ["a\0b \ud800", "x" * 100_000], ids=len)
    async def test_any_reason_of_a_skip_can_be_kept(self, app_of: AppOf, reason: Any) -> None:
        p = Pipeline("p")
        p.asset(name="odd")(Definition(lambda: 1, strategy=Says(lambda: Skipped(reason))))
        p.asset(name="own")(lambda: Skip(reason))
        app = await app_of(p)

        assert await app.run(["odd", "own"]) == [None, None]
