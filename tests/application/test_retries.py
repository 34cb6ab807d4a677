"""Failed attempts: which are repeated, after how long, how often, and what is kept of them."""

import json
from collections.abc import Sequence
from datetime import timedelta

import pytest

from flowstone import Context, Dep, FlowStoneError, Pipeline, Retry, RunFailedError
from flowstone.core.errors import MaterializationTimeoutError
from tests.application.conftest import AppOf
from tests.application.stage import Stage, drain, statuses, steps


class Attempts:
    """Raises what it is given, one error an attempt, and then returns."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors = list(errors)
        self.seen: list[int] = []

    def __call__(self, ctx: Context) -> str:
        self.seen.append(ctx.attempt)
        if self.errors:
            raise self.errors.pop(0)
        return "done"


def pipeline(attempts: Attempts, retry: Retry | int | None = None) -> Pipeline:
    p = Pipeline("p")

    @p.asset(retry=retry)
    async def shaky(ctx: Context) -> str:
        return attempts(ctx)

    @p.asset
    async def after(shaky: str = Dep(shaky)) -> str:
        return shaky + "!"

    return p


def at_once(attempts: int, on: Sequence[type[Exception]] | None = None) -> Retry:
    return Retry(attempts, base=0, on=None if on is None else tuple(on))


async def test_a_job_s_own_exceptions_come_beside_those_that_call_themselves_retryable(
    app_of: AppOf,
) -> None:
    p, errors = Pipeline("p"), [ConnectionResetError("gone"), ValueError("no"), LookupError("end")]

    @p.job(retry=Retry(9, on=ValueError, base=0))
    async def shaky() -> None:
        raise errors.pop(0)

    app = await app_of(p)
    handle = await app.enqueue(shaky.with_())
    for _ in range(5):
        await drain(app)

    record = await handle.status()
    assert (record.status, record.attempt, errors) == ("failed", 3, [])


class TestByDefault:
    @pytest.mark.conformance(131)
    async def test_what_the_author_raised_is_not_repeated(
        self, app_of: AppOf, stage: Stage
    ) -> None:
        attempts = Attempts(ValueError("no"))
        app = await app_of(pipeline(attempts))
        handle = await app.enqueue("after")

        await drain(app)
        await stage.advance("1d")
        await drain(app)

        assert attempts.seen == [1]
        assert await statuses(app, handle.run_id) == {
            "shaky": "failed",
            "after": "upstream_failed",
        }

    @pytest.mark.parametrize("error", [ConnectionResetError("gone"), TimeoutError()], ids=repr)
    async def test_what_can_become_better_is_repeated_five_times_in_all(
        self, app_of: AppOf, stage: Stage, error: Exception
    ) -> None:
        attempts = Attempts(*[error] * 10)
        app = await app_of(pipeline(attempts))
        handle = await app.enqueue("after")

        for _ in range(10):
            await drain(app)
            await stage.advance("6m")

        assert attempts.seen == [1, 2, 3, 4, 5]
        assert await statuses(app, handle.run_id) == {
            "shaky": "failed",
            "after": "upstream_failed",
        }

    async def test_the_delay_grows_from_half_a_minute(self, app_of: AppOf, stage: Stage) -> None:
        attempts = Attempts(*[ConnectionError()] * 2)
        app = await app_of(pipeline(attempts))
        await app.enqueue("shaky")
        tried = []

        # 30 s and then 90 s, each with a tenth of jitter either way.
        for passed in ("0s", "20s", "14s", "70s", "30s"):
            await stage.advance(passed)
            await drain(app)
            tried.append(len(attempts.seen))

        assert tried == [1, 1, 2, 2, 3]

    @pytest.mark.conformance(98)
    async def test_an_error_of_ours_is_passed_on_as_it_is(
        self, app_of: AppOf, stage: Stage
    ) -> None:
        error = MaterializationTimeoutError(timedelta(milliseconds=50), asset="p.shaky")
        attempts = Attempts(error)
        app = await app_of(pipeline(attempts, 1))

        with pytest.raises(RunFailedError) as caught:
            await app.run("shaky")

        assert caught.value.__cause__ is error
        (failure,) = caught.value.failures
        assert (failure.error["code"], failure.error["retryable"]) == ("timeout", True)

    @pytest.mark.conformance(513)
    async def test_foreign_errors_are_told_apart(self, app_of: AppOf, stage: Stage) -> None:
        pydantic = pytest.importorskip("pydantic")
        p = Pipeline("p")

        @p.asset
        async def invalid() -> None:
            pydantic.TypeAdapter(int).validate_python("not a number")

        @p.asset
        async def unreachable() -> None:
            raise ConnectionRefusedError("no database there")

        app = await app_of(p)
        handle = await app.enqueue_many(p)
        await drain(app)

        found = await steps(app, handle.run_id)
        records = {name: json.loads(it.error or "") for name, it in found.items()}
        assert records["invalid"]["code"] == "validation_error"
        assert records["unreachable"]["retryable"] is True
        assert await statuses(app, handle.run_id) == {"invalid": "failed", "unreachable": "ready"}


class TestWithRetry:
    async def test_a_number_is_how_often_it_is_tried_in_all(
        self, app_of: AppOf, stage: Stage
    ) -> None:
        attempts = Attempts(*[ValueError(f"try {number}") for number in range(1, 9)])
        app = await app_of(pipeline(attempts, 3))
        handle = await app.enqueue("shaky")
        for _ in range(5):
            await drain(app)
            await stage.advance("6m")

        assert attempts.seen == [1, 2, 3]
        with pytest.raises(RunFailedError, match="try 3"):
            await handle.result()

    async def test_own_exceptions_are_repeated_and_no_others(self, app_of: AppOf) -> None:
        retry = at_once(5, [KeyError])
        repeated = Attempts(KeyError("a"), KeyError("b"))
        given_up = Attempts(KeyError("a"), ValueError("b"))

        assert await (await app_of(pipeline(repeated, retry))).run("shaky") == "done"
        with pytest.raises(RunFailedError, match="ValueError: b"):
            await (await app_of(pipeline(given_up, retry))).run("shaky", force=True)

        assert (repeated.seen, given_up.seen) == ([1, 2, 3], [1, 2])

    async def test_retryable_errors_are_repeated_beside_own_exceptions(self, app_of: AppOf) -> None:
        attempts = Attempts(ConnectionError(), KeyError("a"))
        app = await app_of(pipeline(attempts, at_once(3, [KeyError])))

        assert await app.run("after") == "done!"

    async def test_an_error_that_calls_itself_final_is_not_repeated(self, app_of: AppOf) -> None:
        attempts = Attempts(FlowStoneError("it is as it is"))
        app = await app_of(pipeline(attempts, at_once(3)))

        with pytest.raises(RunFailedError, match="it is as it is"):
            await app.run("shaky")

        assert attempts.seen == [1]

    async def test_a_value_that_cannot_be_stored_is_not_computed_again(self, app_of: AppOf) -> None:
        p, computed = Pipeline("p"), []

        @p.asset(retry=at_once(3))
        async def unstorable() -> object:
            computed.append(1)
            return object()

        app = await app_of(p)

        with pytest.raises(RunFailedError, match="cannot be stored"):
            await app.run(unstorable)

        assert computed == [1]

    async def test_the_policy_of_the_pipeline_holds_for_assets_without_one(
        self, app_of: AppOf
    ) -> None:
        p, attempts = Pipeline("p", retry=at_once(2)), Attempts(ValueError())

        @p.asset
        def shaky(ctx: Context) -> str:
            return attempts(ctx)

        app = await app_of(p)

        assert await app.run(shaky) == "done"

    async def test_the_delay_is_kept_exactly(self, app_of: AppOf, stage: Stage) -> None:
        retry = Retry(4, base="1000s", factor=2, cap="3000s", jitter=False)
        attempts = Attempts(*[ValueError()] * 3)
        app = await app_of(pipeline(attempts, retry))
        await app.enqueue("shaky")
        await drain(app)
        tried = []

        for passed in ("990s", "10s", "1990s", "10s", "2990s", "10s"):
            await stage.advance(passed)
            await drain(app)
            tried.append(len(attempts.seen))

        assert tried == [1, 2, 2, 3, 3, 4]


class TestInBetween:
    @pytest.mark.conformance(103)
    async def test_all_attempts_are_one_row_that_tells_the_last_error(
        self, app_of: AppOf, stage: Stage
    ) -> None:
        attempts = Attempts(ValueError("first"), ValueError("second"))
        app = await app_of(pipeline(attempts, 3))
        handle = await app.enqueue("after")

        await drain(app)
        await stage.advance("1m")
        await drain(app)

        (shaky, after) = await app.store.materializations(handle.run_id)
        assert (shaky.status, shaky.attempt, after.status) == ("ready", 2, "pending")
        assert json.loads(shaky.error or "")["message"].endswith("ValueError: second")
        assert len(await app.store.history(shaky.key)) == 1

        await stage.advance("10m")
        await drain(app)
        assert await handle.result() == "done!"
        (shaky, _) = await app.store.materializations(handle.run_id)
        assert (shaky.attempt, shaky.error) == (3, None)

    async def test_a_run_here_and_now_waits_for_its_retries(self, app_of: AppOf) -> None:
        retry = Retry(4, base="20ms", factor=1)
        attempts = Attempts(*[ValueError()] * 3)
        app = await app_of(pipeline(attempts, retry))

        assert await app.run("after") == "done!"
        assert attempts.seen == [1, 2, 3, 4]
