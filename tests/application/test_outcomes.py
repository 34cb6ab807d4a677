"""Skip, Snooze and Cancel: what a function returns when there is no value."""

import json
from collections import Counter
from datetime import timedelta

import pytest

from flowstone import Cancel, Context, Dep, Pipeline, RunFailedError, Skip, Snooze
from flowstone.core.errors import NotStoredError, RunCancelledError
from tests.application.conftest import AppOf
from tests.application.stage import Stage, drain, newest_run, statuses, steps


def followed(outcome: Skip | Cancel) -> Pipeline:
    p = Pipeline("p")

    @p.asset
    async def first() -> int | Skip | Cancel:
        return outcome

    @p.asset
    async def second(first: int = Dep(first)) -> int:
        return first

    @p.asset
    def third(second: int = Dep(second)) -> int:
        return second

    @p.asset
    async def apart() -> int:
        return 4

    return p


class TestSkip:
    async def test_what_needs_it_is_skipped_and_the_run_succeeds(self, app_of: AppOf) -> None:
        app = await app_of(followed(Skip("nothing today")))

        assert await app.run(["third", "apart"]) == [None, 4]

        record = await newest_run(app)
        assert record.status == "succeeded"
        assert await statuses(app, record.run_id) == {
            "first": "skipped",
            "second": "skipped",
            "third": "skipped",
            "apart": "succeeded",
        }

    async def test_nothing_is_stored_and_the_reason_is_kept(self, app_of: AppOf) -> None:
        app = await app_of(followed(Skip("nothing today")))
        assert await app.run("first") is None

        with pytest.raises(NotStoredError):
            await app.get("first")
        latest = (await app.status("first")).latest
        assert latest is not None
        assert json.loads(latest.error or "") == {"message": "nothing today"}

    async def test_an_earlier_value_stays(self, app_of: AppOf) -> None:
        p, results = Pipeline("p"), [1, Skip()]

        @p.asset
        async def sometimes() -> int | Skip:
            return results.pop(0)

        app = await app_of(p)

        assert await app.run(sometimes) == 1
        assert await app.run(sometimes, force=True) is None
        assert await app.get(sometimes) == 1


class TestCancel:
    async def test_what_needs_it_is_cancelled_and_the_run_is_too(self, app_of: AppOf) -> None:
        app = await app_of(followed(Cancel("no longer wanted")))

        with pytest.raises(RunCancelledError) as caught:
            await app.run(["third", "apart"])

        steps_ = await steps(app, caught.value.run_id)
        assert {name: it.status.value for name, it in steps_.items()} == {
            "first": "cancelled",
            "second": "cancelled",
            "third": "cancelled",
            "apart": "succeeded",
        }
        assert json.loads(steps_["first"].error or "") == {"message": "no longer wanted"}

    async def test_it_is_not_tried_again(self, app_of: AppOf, stage: Stage) -> None:
        p, calls = Pipeline("p"), Counter[str]()

        @p.asset(retry=5)
        def gives_up() -> Cancel:
            calls["gives_up"] += 1
            return Cancel()

        app = await app_of(p)
        await app.enqueue(gives_up)
        await drain(app)
        await stage.advance("1h")
        await drain(app)

        assert calls == {"gives_up": 1}

    async def test_a_failure_weighs_more_than_a_cancellation(self, app_of: AppOf) -> None:
        p = followed(Cancel())

        @p.asset
        async def failing() -> int:
            raise ValueError("no")

        app = await app_of(p)

        with pytest.raises(RunFailedError):
            await app.run(["first", failing])


class TestSnooze:
    async def test_it_runs_again_after_the_delay_and_not_before(
        self, app_of: AppOf, stage: Stage
    ) -> None:
        p, calls = Pipeline("p"), []

        @p.asset
        async def patient(ctx: Context) -> str | Snooze:
            calls.append(ctx.attempt)
            return Snooze("10m") if len(calls) == 1 else "now"

        @p.asset
        async def after(patient: str = Dep(patient)) -> str:
            return patient + "!"

        app = await app_of(p)
        handle = await app.enqueue(after)

        await drain(app)
        assert await statuses(app, handle.run_id) == {"patient": "ready", "after": "pending"}

        await stage.advance("9m")
        await drain(app)
        assert calls == [1]

        await stage.advance("2m")
        await drain(app)
        assert await handle.result() == "now!"

    async def test_it_does_not_count_as_an_attempt(self, app_of: AppOf, stage: Stage) -> None:
        p, attempts = Pipeline("p"), []

        @p.asset(retry=2)
        def patient(ctx: Context) -> str | Snooze:
            attempts.append(ctx.attempt)
            return Snooze(timedelta(minutes=1)) if len(attempts) < 5 else "now"

        app = await app_of(p)
        handle = await app.enqueue(patient)
        for _ in range(5):
            await drain(app)
            await stage.advance("1m")

        assert attempts == [1] * 5
        assert await handle.result() == "now"

    async def test_a_run_waits_for_it(self, app_of: AppOf) -> None:
        p, results = Pipeline("p"), [Snooze(0), Snooze(0.02), "now"]

        @p.asset
        async def patient() -> str | Snooze:
            return results.pop(0)

        app = await app_of(p)

        assert await app.run(patient) == "now"
