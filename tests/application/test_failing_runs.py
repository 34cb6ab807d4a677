"""Runs that fail: what is told of it, and what goes on all the same."""

import asyncio
import logging
from collections import Counter

import pytest

from flowstone import Dep, Pipeline, RunFailedError
from flowstone.core.errors import AssetFunctionError
from tests.application.conftest import AppOf
from tests.application.stage import drain, statuses


class TestFailures:
    @pytest.mark.conformance(160)
    async def test_what_needs_a_failed_asset_is_not_computed(self, app_of: AppOf) -> None:
        p, computed = Pipeline("p"), Counter[str]()

        @p.asset
        async def numbers() -> list[int]:
            raise ValueError("no numbers today")

        @p.asset
        async def doubled(numbers: list[int] = Dep(numbers)) -> list[int]:
            computed["doubled"] += 1
            return numbers

        @p.asset
        async def total(doubled: list[int] = Dep(doubled)) -> int:
            computed["total"] += 1
            return 0

        app = await app_of(p)

        with pytest.raises(RunFailedError, match=r"p\.numbers: .*no numbers today") as caught:
            await app.run(total)

        assert [failure.asset for failure in caught.value.failures] == ["p.numbers"]
        assert computed == {}
        assert await statuses(app, caught.value.run_id) == {
            "numbers": "failed",
            "doubled": "upstream_failed",
            "total": "upstream_failed",
        }
        latest = (await app.status(total)).latest
        assert latest is not None
        assert "upstream p.doubled upstream failed" in (latest.error or "")

    @pytest.mark.conformance(97, 146)
    async def test_what_a_function_raised_is_the_cause_and_is_logged(
        self, app_of: AppOf, caplog: pytest.LogCaptureFixture
    ) -> None:
        p = Pipeline("p")
        mistake = ValueError("Intentional error")

        @p.asset
        def failing() -> int:
            raise mistake

        app = await app_of(p)

        with caplog.at_level(logging.ERROR), pytest.raises(RunFailedError) as caught:
            await app.run(failing)

        cause = caught.value.__cause__
        assert cause is not None
        assert cause.__cause__ is mistake
        assert str(cause) == "Asset execution failed: ValueError: Intentional error"
        (record,) = [it for it in caplog.records if "FlowStone error" in it.getMessage()]
        assert "Asset execution failed" in record.getMessage()
        assert record.exc_info is not None
        assert record.exc_info[1] is mistake

    @pytest.mark.conformance(145)
    async def test_a_failure_is_logged_with_asset_partition_run_and_attempt(
        self, app_of: AppOf, caplog: pytest.LogCaptureFixture
    ) -> None:
        p = Pipeline("p")

        @p.asset
        async def failing() -> int:
            raise RuntimeError("intentional_failure")

        app = await app_of(p)

        with caplog.at_level(logging.ERROR), pytest.raises(RunFailedError) as caught:
            await app.run(failing, partition="p1")

        (record,) = [it for it in caplog.records if "FlowStone error" in it.getMessage()]
        assert record.getMessage() == (
            f"FlowStone error in p.failing[p1], run {caught.value.run_id}, attempt 1: "
            "Asset execution failed: intentional_failure"
        )

    async def test_a_failure_leaves_what_does_not_need_it_alone(self, app_of: AppOf) -> None:
        p = Pipeline("p")

        @p.asset
        async def failing() -> int:
            raise ValueError("no")

        @p.asset
        async def fine() -> int:
            return 1

        app = await app_of(p)

        with pytest.raises(RunFailedError):
            await app.run([failing, fine])

        assert await app.get(fine) == 1

    async def test_what_the_row_keeps_of_an_error_can_be_read(self, app_of: AppOf) -> None:
        p = Pipeline("p")

        @p.asset
        async def failing() -> int:
            try:
                raise KeyError("id")
            except KeyError as error:
                raise LookupError("bad \x00 \ud800 record") from error

        app = await app_of(p)
        with pytest.raises(RunFailedError) as caught:
            await app.run(failing)

        (failure,) = await app.handle(caught.value.run_id).failures()

        assert failure.error["type"] == "LookupError"
        assert failure.error["code"] == "execution_error"
        assert failure.error["retryable"] is False
        assert "bad \\x00 \\ud800 record" in str(failure.error["message"])
        assert "KeyError: 'id'" in str(failure.error["traceback"])
        cause, run_id = caught.value.__cause__, caught.value.run_id
        assert isinstance(cause, AssetFunctionError)
        assert (cause.asset, cause.partition, cause.run_id) == ("p.failing", "", run_id)
        assert failure.error["context"] == {
            "asset": "p.failing",
            "partition": "",
            "run_id": run_id,
        }

    @pytest.mark.parametrize("error", [SystemExit(3), asyncio.CancelledError()], ids=repr)
    async def test_a_function_cannot_stop_its_worker(
        self, app_of: AppOf, error: BaseException
    ) -> None:
        p = Pipeline("p")

        @p.asset(retry=3)
        async def failing() -> int:
            raise error

        @p.asset(retry=3)
        def failing_in_a_thread() -> int:
            raise error

        @p.asset
        async def fine() -> int:
            return 1

        app = await app_of(p)
        handle = await app.enqueue_many(p)
        await drain(app)

        assert await statuses(app, handle.run_id) == {
            "failing": "failed",
            "failing_in_a_thread": "failed",
            "fine": "succeeded",
        }
