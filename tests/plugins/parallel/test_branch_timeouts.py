"""How long branches may take, each and together."""

import json
from typing import Any

import pytest

from flowstone import Pipeline
from flowstone.plugins.parallel import (
    Branch,
    ExecutionStatus,
    Failed,
    Outcome,
    ParallelCoordinator,
    parallel,
)
from tests.application.conftest import AppOf
from tests.application.stage import Stage, drain, statuses, steps, working


class TestTimeouts:
    def late(self, overall: str | None, own: str | None, required: bool) -> Pipeline:
        p = Pipeline("p")

        @p.asset(queue="nobody")
        async def never() -> int:
            raise AssertionError("nobody works on this queue")

        @p.asset
        async def quick() -> int:
            return 1

        branch = Branch(never, required=required, timeout=own)  # type: ignore[call-overload]

        @p.asset
        @parallel(failure_mode="partial", timeout=overall)
        async def joined(quick: int = Branch(quick), never: Any = branch) -> str:
            return str(never)

        if not required:
            joined.function.__annotations__["never"] = Outcome[int]
        return p

    @pytest.mark.conformance(337)
    @pytest.mark.parametrize(("overall", "own"), [("30m", None), (None, "30m"), ("1d", "30m")])
    async def test_a_required_branch_that_takes_too_long_fails_it(
        self, app_of: AppOf, stage: Stage, overall: str | None, own: str | None
    ) -> None:
        app = await app_of(self.late(overall, own, required=True))
        handle = await app.enqueue("joined")
        await drain(app)
        await stage.advance("29m")
        await drain(app)
        assert (await statuses(app, handle.run_id))["joined"] == "waiting"

        await stage.advance("2m")
        await drain(app)

        step = (await steps(app, handle.run_id))["joined"]
        assert json.loads(step.error or "")["code"] == "timeout"
        assert await statuses(app, handle.run_id) == {
            "quick": "succeeded",
            "never": "cancelled",
            "joined": "failed",
        }
        status = await app.coordinator(ParallelCoordinator).status(step.id)
        assert status.status is ExecutionStatus.FAILED
        assert (await handle.status()).status == "failed"

    async def test_an_optional_one_is_joined_as_failed(self, app_of: AppOf, stage: Stage) -> None:
        app = await app_of(self.late("30m", None, required=False))
        handle = await app.enqueue("joined")
        await drain(app)
        await stage.advance("31m")
        await drain(app)

        assert await handle.result(60) == str(Failed("branch 'never' took too long", "timeout"))
        assert (await statuses(app, handle.run_id))["never"] == "cancelled"
        assert (await handle.status()).status == "succeeded"

    async def test_one_branch_is_late_and_the_others_go_on(
        self, app_of: AppOf, stage: Stage
    ) -> None:
        p = Pipeline("p")

        @p.asset(queue="nobody")
        async def never() -> int:
            return 1

        @p.asset(queue="later")
        async def later() -> int:
            return 2

        @p.asset
        @parallel(failure_mode="partial", timeout="2h")
        async def joined(
            never: Outcome[int] = Branch(never, required=False, timeout="10m"),
            later: int = Branch(later),
        ) -> list[str]:
            return [str(never), str(later)]

        app = await app_of(p)
        handle = await app.enqueue("joined")
        await drain(app)
        await stage.advance("11m")
        await drain(app)
        assert await statuses(app, handle.run_id) == {
            "never": "cancelled",
            "later": "ready",
            "joined": "waiting",
        }

        async with working(app, default=20, later=1):
            await handle.wait(60)

        assert await handle.result(60) == [
            str(Failed("branch 'never' took too long", "timeout")),
            "2",
        ]
