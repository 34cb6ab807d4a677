"""Branches that fail, are skipped or are never begun, and what becomes of their join."""

import asyncio
import json
from typing import Any

import pytest

from flowstone import Dep, FlowStone, Pipeline, Retry, RunFailedError, Skip
from flowstone.core.errors import RunCancelledError
from flowstone.core.handle import RunHandle
from flowstone.plugins.parallel import (
    Branch,
    ExecutionStatus,
    Failed,
    Ok,
    Outcome,
    ParallelCoordinator,
    Skipped,
    parallel,
)
from tests.application.conftest import AppOf
from tests.application.stage import drain, eventually, statuses, steps, working


def mixed(**options: Any) -> Pipeline:
    """Branches that end well, are skipped and fail."""
    p = Pipeline("p")

    @p.asset
    async def good() -> str:
        return "ok"

    @p.asset
    async def unselected() -> str | Skip:
        return Skip("not selected")

    @p.asset
    async def below(unselected: str = Dep(unselected)) -> str:
        return unselected

    @p.asset
    async def cause() -> str:
        raise ValueError("boom")

    @p.asset
    async def bad(cause: str = Dep(cause)) -> str:
        return cause

    @p.asset
    @parallel(failure_mode="partial")
    async def joined(
        good: Outcome[str] = Branch(good, required=False),
        skipped: Outcome[str] = Branch(below, required=False),
        bad: Outcome[str] = Branch(bad, required=False),
        raised: Outcome[str] = Branch(cause, required=False),
    ) -> list[str]:
        return [f"{it}" for it in (good, skipped, bad, raised)]

    return p


async def boom() -> int:
    raise ValueError("boom")


async def ended(app: FlowStone) -> RunHandle[Any]:
    """Enqueue ``joined``, and work until nothing is left to do."""
    handle = await app.enqueue("joined")
    await drain(app)
    return handle


class Endless:
    """A branch that begins and does not end by itself."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.stopped = asyncio.Event()

        async def endless() -> int:
            try:
                await asyncio.Event().wait()
            finally:
                self.stopped.set()
            return 1

        self.asset = pipeline.asset(endless)


class TestPartial:
    @pytest.mark.conformance(327, 344)
    async def test_the_join_is_told_how_each_branch_ended(self, app_of: AppOf) -> None:
        app = await app_of(mixed())

        said = await app.run("joined")

        assert said == [
            str(Ok("ok")),
            str(Skipped("upstream p.unselected skipped")),
            str(Failed("upstream p.cause failed", "dependency_failed")),
            str(Failed("ValueError: boom", "execution_error")),
        ]
        (run,) = await app.store.runs(limit=1)
        id_ = (await steps(app, run.run_id))["joined"].id
        status = await app.coordinator(ParallelCoordinator).status(id_)
        assert (status.completed, status.failed) == (2, 2)
        assert status.status is ExecutionStatus.COMPLETE

    async def test_what_is_tolerated_does_not_fail_the_run(self, app_of: AppOf) -> None:
        handle = await ended(await app_of(mixed()))

        record = await handle.status()

        assert record.status == "succeeded"
        assert (record.counts["failed"], record.counts["upstream_failed"]) == (1, 1)  # type: ignore[index]

    async def test_what_was_asked_for_itself_fails_it(self, app_of: AppOf) -> None:
        app = await app_of(mixed())
        handle = await app.enqueue_many(["joined", "bad"])
        await drain(app)

        assert (await handle.status()).status == "failed"
        assert (await statuses(app, handle.run_id))["joined"] == "succeeded"

    async def test_a_required_branch_that_fails_lets_the_others_end(self, app_of: AppOf) -> None:
        p = Pipeline("p")
        gate = asyncio.Event()
        bad = p.asset(name="bad")(boom)

        @p.asset
        async def slow() -> int:
            await gate.wait()
            return 2

        @p.asset
        @parallel(failure_mode="partial")
        async def joined(bad: int = Branch(bad), slow: Outcome[int] = Branch(slow, required=False)):
            raise AssertionError("never joined")

        app = await app_of(p)
        handle = await app.enqueue("joined")
        async with working(app):
            await eventually(lambda: _is(app, handle, bad="failed", slow="running"))
            assert (await statuses(app, handle.run_id))["joined"] == "waiting"
            gate.set()
            await handle.wait(60)

        assert await statuses(app, handle.run_id) == {
            "bad": "failed",
            "slow": "succeeded",
            "joined": "failed",
        }

    @pytest.mark.conformance(336)
    async def test_one_that_is_not_waited_for_is_skipped_and_stopped(self, app_of: AppOf) -> None:
        p = Pipeline("p")
        endless = Endless(p)
        quick = p.asset(name="quick")(lambda: 1)

        @p.asset
        @parallel(failure_mode="partial")
        async def joined(
            quick: int = Branch(quick),
            endless: Outcome[int] = Branch(endless.asset, required=False, wait=False),
        ) -> str:
            return str(endless)

        app = await app_of(p)
        handle = await app.enqueue("joined")
        async with working(app):
            assert await handle.result(60) == str(Skipped("not waited for"))
            await asyncio.wait_for(endless.stopped.wait(), 10)
            assert (await handle.wait(60)).status == "succeeded"

        assert (await statuses(app, handle.run_id))["endless"] == "cancelled"


async def _is(app: Any, handle: Any, **expected: str) -> bool:
    found = await statuses(app, handle.run_id)
    return all(found.get(name) == status for name, status in expected.items())


class TestAllOrNothing:
    @pytest.mark.conformance(328)
    async def test_one_failure_fails_it_at_once_and_stops_the_rest(
        self, app_of: AppOf, caplog: pytest.LogCaptureFixture
    ) -> None:
        p = Pipeline("p")
        bad, endless = p.asset(name="bad")(boom), Endless(p)

        @p.asset
        async def behind(endless: int = Dep(endless.asset)) -> int:
            return endless

        @p.asset
        @parallel()
        async def joined(bad: int = Branch(bad), behind: int = Branch(behind)) -> int:
            raise AssertionError("never joined")

        app = await app_of(p)
        handle = await app.enqueue("joined")
        async with working(app):
            with pytest.raises(RunFailedError, match="boom"):
                await handle.result(60)

        assert endless.stopped.is_set()
        assert await statuses(app, handle.run_id) == {
            "bad": "failed",
            "endless": "cancelled",
            "behind": "cancelled",
            "joined": "failed",
        }
        error = json.loads((await steps(app, handle.run_id))["joined"].error or "")
        assert error["code"] == "branches_failed"
        assert error["message"] == "branches failed: bad: ValueError: boom"
        assert not await app.exists("joined")
        assert "branches failed: bad: ValueError: boom" in caplog.text

    async def test_a_branch_that_is_tried_again_has_not_failed(self, app_of: AppOf) -> None:
        p = Pipeline("p")
        attempts = []

        @p.asset(retry=Retry(2, base=0))
        async def flaky() -> int:
            attempts.append(1)
            if len(attempts) == 1:
                raise ValueError("once")
            return 1

        @p.asset
        @parallel()
        async def joined(flaky: int = Branch(flaky)) -> int:
            return flaky

        app = await app_of(p)

        assert await app.run("joined") == 1

    async def test_a_skipped_branch_skips_it(self, app_of: AppOf) -> None:
        p = Pipeline("p")
        empty = p.asset(name="empty")(lambda: Skip("nothing new"))
        one = p.asset(name="one")(lambda: 1)

        @p.asset
        @parallel()
        async def joined(empty: object = Branch(empty), one: int = Branch(one)) -> int:
            raise AssertionError("never joined")

        app = await app_of(p)
        handle = await ended(app)

        assert await handle.result(60) is None
        assert (await handle.status()).status == "succeeded"
        assert (await statuses(app, handle.run_id))["joined"] == "skipped"

    async def test_a_failed_branch_is_computed_again_by_a_retry_and_the_others_reused(
        self, app_of: AppOf
    ) -> None:
        p = Pipeline("p")
        failures = [ValueError("boom")]

        @p.asset
        async def bad() -> int:
            if failures:
                raise failures.pop()
            return 1

        good = p.asset(name="good")(lambda: 2)

        @p.asset
        @parallel(failure_mode="partial")
        async def joined(bad: int = Branch(bad), good: int = Branch(good)) -> int:
            return bad + good

        app = await app_of(p)
        with pytest.raises(RunFailedError):
            await app.run("joined")
        (run,) = await app.store.runs(limit=1)

        again = await app.retry(run.run_id)
        await drain(app)

        assert await again.result(60) == 3
        assert set(await statuses(app, again.run_id)) == {"bad", "joined"}


class TestNotBegun:
    @pytest.mark.parametrize(("how", "status"), [("skip", "skipped"), ("fail", "upstream_failed")])
    async def test_without_what_it_needs_itself_no_branch_begins(
        self, app_of: AppOf, how: str, status: str
    ) -> None:
        p = Pipeline("p")

        @p.asset
        async def first() -> int | Skip:
            if how == "skip":
                return Skip("not today")
            raise ValueError("no")

        @p.asset
        async def start() -> int:
            raise AssertionError("a branch began")

        @p.asset
        async def branch(start: int = Dep(start)) -> int:
            return start

        @p.asset
        @parallel()
        async def joined(first: int = Dep(first), branch: int = Branch(branch)) -> int:
            return branch

        app = await app_of(p)
        handle = await ended(app)

        found = await statuses(app, handle.run_id)
        assert {found[name] for name in ("start", "branch", "joined")} == {status}

    async def test_a_cancelled_run_leaves_nothing_waiting(self, app_of: AppOf) -> None:
        p = Pipeline("p")
        endless = Endless(p)

        @p.asset
        @parallel()
        async def joined(endless: int = Branch(endless.asset)) -> int:
            return endless

        app = await app_of(p)
        handle = await app.enqueue("joined")
        async with working(app):
            await eventually(lambda: _is(app, handle, joined="waiting", endless="running"))
            await handle.cancel()
            with pytest.raises(RunCancelledError):
                await handle.result(60)

        assert await statuses(app, handle.run_id) == dict.fromkeys(
            ("endless", "joined"), "cancelled"
        )
