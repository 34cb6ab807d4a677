"""Assets that wait: started by one attempt, resumed by another, holding nothing in between."""

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest

from flowstone import Dep, FlowStone, Pipeline, Retry, RunFailedError, RunWaiting
from flowstone.core.asset import Definition
from flowstone.core.contracts.strategy import Execution, Strategy
from flowstone.core.errors import HandleTimeoutError, RunCancelledError
from flowstone.core.outcome import Outcome, Skipped, Stored, Waiting, Wake
from tests.application.conftest import AppOf
from tests.application.stage import (
    Stage,
    drain,
    eventually,
    newest_run,
    statuses,
    steps,
    woken,
    working,
)


class Gate(Strategy):
    """Calls the function, waits, and stores what the function and the waker said."""

    def __init__(self, waiting: Waiting | None = None) -> None:
        self.waiting = waiting or Waiting("signal")
        self.wakes: list[Wake] = []
        self.failures: list[Exception] = []

    async def start(self, execution: Execution) -> Outcome:
        asked = await execution.call()
        state: Any = {"asked": asked, "attempt": execution.attempt}
        return Waiting(self.waiting.on, state, self.waiting.timeout, self.waiting.external)

    async def resume(self, execution: Execution, wake: Wake) -> Outcome:
        self.wakes.append(wake)
        if self.failures:
            raise self.failures.pop(0)
        if wake.payload == "again":
            return Waiting("signal", {"asked": "again"})
        if wake.timed_out:
            return Skipped("nobody answered")
        return Stored([wake.state, wake.payload])


def gated(gate: Gate, **options: Any) -> Pipeline:
    p = Pipeline("p")

    @p.asset
    async def base() -> int:
        return 1

    def ask(base: int = Dep(base)) -> str:
        return f"may I, {base}?"

    definition: Definition[..., list[Any]] = Definition(ask, strategy=gate, value_type=list[Any])
    answer = p.asset(name="answer", **options)(definition)

    @p.asset
    async def after(answer: list[Any] = Dep(answer)) -> str:
        return f"after {answer[1]}"

    return p


async def waiting_id(app: FlowStone, run_id: int) -> int:
    """Return the materialization that waits, once it does."""

    async def found() -> list[int]:
        return [it.id for it in await app.store.materializations(run_id) if it.status == "waiting"]

    (id_,) = await eventually(found)
    return int(id_)


ASKED = {"asked": "may I, 1?", "attempt": 1}


class TestRunHereAndNow:
    async def test_it_says_what_the_run_waits_for(self, app_of: AppOf) -> None:
        app = await app_of(gated(Gate(Waiting("approval"))))

        with pytest.raises(RunWaiting, match=r"waits: p\.answer\[x\] for approval") as caught:
            await app.run("after", partition="x")

        (wait,) = caught.value.waits
        assert (wait.asset, wait.partition, wait.on) == ("p.answer", "x", "approval")
        assert await statuses(app, caught.value.run_id) == {
            "base[x]": "succeeded",
            "answer[x]": "waiting",
            "after[x]": "pending",
        }

    async def test_the_run_goes_on_when_the_event_comes(self, app_of: AppOf) -> None:
        gate = Gate()
        app = await app_of(gated(gate))
        with pytest.raises(RunWaiting) as caught:
            await app.run("after")
        id_ = await waiting_id(app, caught.value.run_id)

        assert await app.store.wake(id_, json.dumps({"by": "ü"}))

        assert await app.finish(app.handle(caught.value.run_id)) == "after {'by': 'ü'}"
        assert gate.wakes == [Wake("signal", ASKED, {"by": "ü"}, timed_out=False)]

    async def test_all_that_can_be_done_is_done_before_it_gives_up(self, app_of: AppOf) -> None:
        p = gated(Gate())
        p.asset(name="apart")(lambda: "done")
        app = await app_of(p)

        with pytest.raises(RunWaiting):
            await app.run(["after", "apart"])

        assert await app.get("apart") == "done"

    async def test_a_wait_for_something_inside_is_waited_for(self, app_of: AppOf) -> None:
        app = await app_of(gated(Gate(Waiting("branches", external=False))))
        running = asyncio.create_task(app.run("after"))
        record = await eventually(lambda: _has_waits(app))
        id_ = await waiting_id(app, record.run_id)
        assert not running.done()

        await app.store.wake(id_, '"now"')

        assert await asyncio.wait_for(running, 10) == "after now"

    async def test_a_deadline_that_is_near_is_no_reason_to_stay(self, app_of: AppOf) -> None:
        app = await app_of(gated(Gate(Waiting("signal", timeout=timedelta(hours=1)))))

        with pytest.raises(RunWaiting):
            await app.run("after")


async def _has_waits(app: FlowStone) -> Any:
    runs = await app.store.runs(limit=1)
    return runs[0] if runs and runs[0].counts.get("waiting") else None  # type: ignore[call-overload]


class TestResuming:
    async def test_the_halves_may_be_in_different_applications(self, app_of: AppOf) -> None:
        first, second = Gate(), Gate()
        app, elsewhere = await app_of(gated(first)), await app_of(gated(second))
        handle = await app.enqueue("after")
        await drain(app)
        with pytest.raises(HandleTimeoutError):
            await handle.result(0.01)

        await elsewhere.store.wake(await waiting_id(app, handle.run_id), '"yes"')
        await drain(elsewhere)

        assert await handle.result() == "after yes"
        assert first.wakes == []
        assert second.wakes == [Wake("signal", ASKED, "yes", timed_out=False)]
        assert await app.get("answer") == [ASKED, "yes"]

    async def test_waking_wakes_a_worker(self, app_of: AppOf) -> None:
        app = await app_of(gated(Gate()))
        handle = await app.enqueue("after")
        async with woken(app):
            await app.store.wake(await waiting_id(app, handle.run_id), '"yes"')

            assert await handle.result(60) == "after yes"

    async def test_a_second_wake_up_changes_nothing(self, app_of: AppOf) -> None:
        app = await app_of(gated(Gate()))
        handle = await app.enqueue("after")
        await drain(app)
        id_ = await waiting_id(app, handle.run_id)

        assert await app.store.wake(id_, '"first"')
        assert not await app.store.wake(id_, '"second"')

        await drain(app)
        assert await handle.result() == "after first"
        assert not await app.store.wake(id_, '"late"')

    async def test_it_may_wait_once_more(self, app_of: AppOf) -> None:
        gate = Gate()
        app = await app_of(gated(gate))
        handle = await app.enqueue("after")

        for payload in ('"again"', '"again"', '"done"'):
            await drain(app)
            await app.store.wake(await waiting_id(app, handle.run_id), payload)
        await drain(app)

        assert await handle.result() == "after done"
        assert [wake.state for wake in gate.wakes] == [
            ASKED,
            {"asked": "again"},
            {"asked": "again"},
        ]

    async def test_a_wake_up_that_comes_first_is_not_lost(self, app_of: AppOf) -> None:
        gate = Gate()
        app = await app_of(gated(gate))

        class Early(Gate):
            async def start(self, execution: Execution) -> Outcome:
                assert await app.store.wake(execution.materialization_id, '"early"')
                return await super().start(execution)

        early = await app_of(gated(Early()))

        assert await early.run("after") == "after early"

    async def test_a_failed_resume_is_tried_again_with_the_same_wake_up(
        self, app_of: AppOf
    ) -> None:
        gate = Gate()
        gate.failures = [ValueError("not now"), ConnectionError()]
        app = await app_of(gated(gate, retry=Retry(3, base=0)))
        with pytest.raises(RunWaiting) as caught:
            await app.run("after")
        await app.store.wake(await waiting_id(app, caught.value.run_id), '"yes"')

        assert await app.finish(app.handle(caught.value.run_id)) == "after yes"
        assert gate.wakes == [Wake("signal", ASKED, "yes", timed_out=False)] * 3

    async def test_the_wait_costs_no_attempt(self, app_of: AppOf) -> None:
        gate = Gate()
        gate.failures = [ValueError("no")] * 2
        app = await app_of(gated(gate, retry=Retry(2, base=0)))
        with pytest.raises(RunWaiting) as waiting:
            await app.run("answer")
        await app.store.wake(await waiting_id(app, waiting.value.run_id), '"yes"')

        with pytest.raises(RunFailedError, match="no"):
            await app.finish(app.handle(waiting.value.run_id))

        assert len(gate.wakes) == 2


class TestDeadlines:
    async def test_a_wait_that_nobody_ends_is_resumed_at_its_deadline(
        self, app_of: AppOf, stage: Stage
    ) -> None:
        gate = Gate(Waiting("signal", timeout=timedelta(days=2)))
        app = await app_of(gated(gate))
        handle = await app.enqueue("after")
        await drain(app)

        await stage.advance("47h")
        await drain(app)
        assert gate.wakes == []

        await stage.advance("2h")
        await drain(app)
        assert gate.wakes == [Wake("signal", ASKED, None, timed_out=True)]
        assert await statuses(app, handle.run_id) == {
            "base": "succeeded",
            "answer": "skipped",
            "after": "skipped",
        }

    async def test_a_wake_up_in_time_makes_the_deadline_void(
        self, app_of: AppOf, stage: Stage
    ) -> None:
        gate = Gate(Waiting("signal", timeout=timedelta(hours=1)))
        app = await app_of(gated(gate))
        handle = await app.enqueue("after")
        await drain(app)
        await app.store.wake(await waiting_id(app, handle.run_id), '"yes"')
        await stage.advance("2h")

        await drain(app)

        assert [wake.timed_out for wake in gate.wakes] == [False]
        assert await handle.result() == "after yes"

    async def test_a_worker_that_waits_sees_the_deadline(self, app_of: AppOf, stage: Stage) -> None:
        app = await app_of(gated(Gate(Waiting("signal", timeout=timedelta(hours=1)))))
        handle = await app.enqueue("after")
        async with working(app):
            await waiting_id(app, handle.run_id)
            await stage.advance("1h")

            assert await handle.result(60) is None


class TestStopping:
    async def test_a_run_that_waits_can_be_cancelled(self, app_of: AppOf) -> None:
        gate = Gate()
        app = await app_of(gated(gate))
        with pytest.raises(RunWaiting) as caught:
            await app.run("after")
        handle = app.handle(caught.value.run_id)
        id_ = await waiting_id(app, handle.run_id)

        assert await handle.cancel() == 2

        with pytest.raises(RunCancelledError):
            await handle.result(60)
        assert not await app.store.wake(id_, '"late"')
        await drain(app)
        assert gate.wakes == []

    async def test_a_timeout_holds_for_each_half_and_not_for_the_wait(
        self, app_of: AppOf, stage: Stage
    ) -> None:
        class Slow(Gate):
            async def start(self, execution: Execution) -> Outcome:
                return self.waiting

            async def resume(self, execution: Execution, wake: Wake) -> Outcome:
                await asyncio.Event().wait()
                raise AssertionError("never")

        app = await app_of(gated(Slow(), timeout="50ms", retry=1))
        handle = await app.enqueue("answer")
        await drain(app)
        await stage.advance("1d")
        await app.store.wake(await waiting_id(app, handle.run_id), "null")

        await drain(app)

        step = (await steps(app, handle.run_id))["answer"]
        assert step.status == "failed"
        assert json.loads(step.error or "")["code"] == "timeout"


class TestWhatIsWaitedFor:
    async def test_rows_say_it_while_it_waits(self, app_of: AppOf) -> None:
        app = await app_of(gated(Gate(Waiting("approval", timeout=timedelta(hours=1)))))
        handle = await app.enqueue("after")
        await drain(app)

        step = (await steps(app, handle.run_id))["answer"]
        assert (step.status, step.waiting_on, step.external) == ("waiting", "approval", True)
        assert [str(wait) for wait in await handle.waits()] == ["p.answer for approval"]

        await app.store.wake(step.id, "null")
        await drain(app)

        step = (await steps(app, handle.run_id))["answer"]
        assert (step.status, step.waiting_on) == ("succeeded", None)
        assert await handle.waits() == []
        assert (await newest_run(app)).status == "succeeded"
