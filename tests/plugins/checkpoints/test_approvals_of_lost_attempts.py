"""An attempt that is lost after asking asks nobody twice and forgets no decision."""

from typing import Any

import pytest

from flowstone import Retry
from flowstone.core.outcome import Stored
from flowstone.plugins.checkpoints import (
    Approval,
    approve,
    list_approvals,
)
from tests.application.conftest import AppOf
from tests.application.stage import (
    drain,
    statuses,
)
from tests.plugins.checkpoints.asking import asked, result
from tests.plugins.checkpoints.desk import Desk, Trade


class TestLostAttempts:
    async def test_an_attempt_that_failed_after_asking_asks_nobody_twice(
        self, app_of: AppOf, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        desk = Desk(options={"retry": Retry(3, base=0)})
        app = await app_of(desk.pipeline)
        strategy: Any = desk.trade.strategy
        go_on, failures = strategy._outcome, [ConnectionError()]

        def fail_once(execution: Any, it: Approval) -> Any:
            if failures:
                raise failures.pop()
            return go_on(execution, it)

        monkeypatch.setattr(strategy, "_outcome", fail_once)

        run_id, it = await asked(app, desk)
        await approve(app, it.id, by="ann")

        assert await result(app, run_id) == "tea for 5000"
        assert (desk.priced, len(await list_approvals(app, is_open=None))) == (1, 1)

    async def test_a_decision_that_came_before_the_wait_counts(self, app_of: AppOf) -> None:
        desk = Desk()
        app = await app_of(desk.pipeline)
        strategy: Any = desk.trade.strategy
        start = strategy.start

        async def decided_meanwhile(execution: Any) -> Any:
            outcome = await start(execution)
            await approve(app, execution.materialization_id, by="ann")
            return outcome

        strategy.start = decided_meanwhile

        assert await app.run(desk.booked) == "tea for 5000"

    async def test_a_decision_on_what_a_lost_attempt_asked_counts(self, app_of: AppOf) -> None:
        desk = Desk(options={"retry": Retry(3, base=0)})
        app = await app_of(desk.pipeline)
        strategy: Any = desk.trade.strategy
        start, lost = strategy.start, [ConnectionError()]

        async def lost_once(execution: Any) -> Any:
            outcome = await start(execution)
            if lost:
                await approve(app, execution.materialization_id, by="ann")
                raise lost.pop()
            assert outcome == Stored(Trade(5_000)), "it has no need to wait any more"
            return outcome

        strategy.start = lost_once

        assert await app.run(desk.booked) == "tea for 5000"
        assert desk.priced == 1

    async def test_a_wake_up_without_a_decision_lets_it_wait_again(self, app_of: AppOf) -> None:
        desk = Desk()
        app = await app_of(desk.pipeline)
        run_id, it = await asked(app, desk)

        assert await app.store.wake(it.id, '"hello?"')
        await drain(app)

        assert (await statuses(app, run_id))["trade"] == "waiting"
        await approve(app, it.id, by="ann")
        assert await result(app, run_id) == "tea for 5000"
