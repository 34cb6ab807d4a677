"""A gate from its opening to its end, in memory and on Postgres."""

import asyncio
from typing import Any

import pytest

from flowstone import FlowStone, Pipeline, Retry, RunFailedError, RunWaiting, Skip
from flowstone.core.errors import DefinitionError, InvalidOptionError
from flowstone.plugins.signal_gate import (
    AlreadySignaledError,
    Answer,
    GateCancelledError,
    GateCoordinator,
    GateExpiredError,
    GateStatus,
    PayloadRefusedError,
    SignalGates,
    Wait,
    signal,
    signal_gate,
    upkeep,
)
from tests.application.conftest import AppOf
from tests.application.stage import Heard, Stage, drain, eventually, statuses, woken, working
from tests.plugins.signal_gate.gated import Done, Story, begun, gated, the_gate


class TestASignal:
    @pytest.mark.conformance(373)
    async def test_it_lets_the_asset_and_what_depends_on_it_go_on(self, app_of: AppOf) -> None:
        story = Story()
        app = await app_of(gated(story))
        handle = await begun(app)
        assert await statuses(app, handle.run_id) == {
            "base": "succeeded",
            "gate": "waiting",
            "after": "pending",
        }

        answered = await signal(app, "task", Done(3, ["ü"]))
        await drain(app)

        assert answered.answer is Answer.ACCEPTED
        assert await handle.result() == "4 pages"
        assert story == Story(bodies=1, payloads=[Done(3, ["ü"])])
        assert await app.get("p.gate") == 4

    async def test_a_run_here_and_now_says_what_it_waits_for(self, app_of: AppOf) -> None:
        app = await app_of(gated(Story()))

        with pytest.raises(RunWaiting, match=r"waits: p\.gate for signal \(task\)") as caught:
            await app.run("p.after")

        await signal(app, "task", Done(1))
        assert await app.finish(app.handle(caught.value.run_id)) == "2 pages"

    async def test_it_wakes_a_worker(self, app_of: AppOf) -> None:
        app = await app_of(gated(Story()))
        handle = await begun(app)
        async with woken(app):
            await signal(app, "task", Done(1))

            assert await handle.result(60) == "2 pages"

    @pytest.mark.conformance(357)
    async def test_of_two_the_first_counts_and_a_repeat_changes_nothing(
        self, app_of: AppOf
    ) -> None:
        story = Story()
        app = await app_of(gated(story))
        handle = await begun(app)

        first = await signal(app, "task", {"pages": 1, "words": ["a"]})
        again = await signal(app, "task", {"words": ["a"], "pages": 1.0})
        with pytest.raises(AlreadySignaledError):
            await signal(app, "task", Done(2))
        await drain(app)
        late = await signal(app, "task", Done(1, ["a"]))

        assert [it.answer for it in (first, again, late)] == ["accepted", "repeated", "repeated"]
        assert await handle.result() == "2 pages"
        assert story.payloads == [Done(1, ["a"])]

    async def test_one_that_comes_before_its_gate_is_kept_for_it(self, app_of: AppOf) -> None:
        story = Story()
        app = await app_of(gated(story))

        kept = await signal(app, "task", Done(5))
        again = await signal(app, "task", Done(5))
        with pytest.raises(AlreadySignaledError):
            await signal(app, "task", Done(6))

        assert (kept.answer, kept.gate, again.answer) == ("kept", None, "kept")
        assert await app.run("p.after") == "6 pages"
        assert (await signal(app, "task", Done(5))).answer is Answer.REPEATED

    async def test_one_that_no_gate_takes_goes_after_a_while(
        self, app_of: AppOf, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(upkeep, "FIRST_SECONDS", 0.0)
        app = await app_of(gated(Story()), plugins=[SignalGates(keep_early="1h")])
        await signal(app, "task", Done(5))
        await stage.advance("2h")

        async def is_gone() -> bool:
            try:
                return (await signal(app, "task", Done(6))).answer is Answer.KEPT
            except AlreadySignaledError:
                return False

        async with working(app):
            await eventually(is_gone)

    async def test_a_payload_of_another_type_changes_nothing(self, app_of: AppOf) -> None:
        app = await app_of(gated(Story()))
        handle = await begun(app)

        for wrong in ({"pages": "many"}, None, [1], {"sheets": 1}):
            with pytest.raises(PayloadRefusedError, match=r"refused: at \$"):
                await signal(app, "task", wrong)
        assert (await the_gate(app)).is_open

        await signal(app, "task", Done(1))
        await drain(app)
        assert await handle.result() == "2 pages"

    async def test_an_early_one_of_another_type_leaves_the_gate_open(self, app_of: AppOf) -> None:
        story = Story()
        app = await app_of(gated(story))
        heard = Heard(app)
        await signal(app, "task", {"pages": "many"})

        handle = await begun(app)

        assert (await the_gate(app)).is_open
        assert (await statuses(app, handle.run_id))["gate"] == "waiting"
        (refused,) = heard.of("signal_gate.refused")
        assert "pages" in str(refused[1]["reason"])
        await signal(app, "task", Done(1))
        await drain(app)
        assert await handle.result() == "2 pages"
        assert story == Story(bodies=1, payloads=[Done(1)])

    async def test_what_fails_with_it_is_tried_again_with_the_same(self, app_of: AppOf) -> None:
        story = Story(failures=[ValueError("not now"), ValueError("nor now")])
        app = await app_of(gated(story, retry=Retry(3, base=0)))
        handle = await begun(app)

        await signal(app, "task", Done(2))
        await drain(app)

        assert await handle.result() == "3 pages"
        assert story.payloads == [Done(2)] * 3
        assert story.bodies == 1

    async def test_it_may_be_followed_by_another_gate(self, app_of: AppOf) -> None:
        story = Story(then=Wait("second"))
        app = await app_of(gated(story))
        handle = await begun(app)
        await signal(app, "task", Done(1))
        await drain(app)
        assert (await the_gate(app)).token == "second"

        story.then = None
        await signal(app, "second", Done(7))
        await drain(app)

        assert await handle.result() == "8 pages"
        assert story.payloads == [Done(1), Done(7)]

    async def test_its_own_token_cannot_be_waited_for_again(self, app_of: AppOf) -> None:
        app = await app_of(gated(Story(then=Wait("task"))))
        handle = await begun(app)
        await signal(app, "task", Done(1))
        await drain(app)

        with pytest.raises(RunFailedError, match="token 'task' is taken"):
            await handle.result()

    async def test_it_may_end_without_a_value(self, app_of: AppOf) -> None:
        app = await app_of(gated(Story(then=Skip("nothing in it"))))
        handle = await begun(app)
        await signal(app, "task", Done(1))
        await drain(app)

        assert (await statuses(app, handle.run_id))["after"] == "skipped"

    async def test_one_of_many_at_once_is_accepted(self, app_of: AppOf) -> None:
        story = Story()
        app = await app_of(gated(story))
        await begun(app)

        given = [signal(app, "task", Done(number)) for number in range(20)]
        answers = await asyncio.gather(*given, return_exceptions=True)
        await drain(app)

        refused = [it for it in answers if isinstance(it, AlreadySignaledError)]
        (accepted,) = [it for it in answers if not isinstance(it, BaseException)]
        assert (accepted.answer, len(refused)) == ("accepted", 19)
        assert len(story.payloads) == 1


class TestTelemetry:
    async def test_what_happens_to_a_gate_is_told(self, app_of: AppOf, stage: Stage) -> None:
        app = await app_of(gated(Story(), on_timeout="retry", timeout_retries=1))
        heard = Heard(app, [f"signal_gate.{it}" for it in TOLD])
        await signal(app, "other", Done(1))
        await begun(app)
        for _ in range(2):
            await stage.advance("2h")
            await drain(app)
        with pytest.raises(GateExpiredError):
            await signal(app, "task", Done(1))
        await begun(app)
        await signal(app, "task", Done(1))
        await drain(app)
        await app.invalidate("p.gate")
        await begun(app)
        await app.coordinator(GateCoordinator).cancel((await the_gate(app)).id)
        await drain(app)

        assert [name.partition(".")[2] for name in heard.names] == [
            *("keep", "create", "timeout_retry", "timeout", "refused"),
            *("create", "signal", "create", "cancel"),
        ]
        created, signaled = heard.of("signal_gate.create")[0], heard.of("signal_gate.signal")[0]
        assert created[0] == {"timeout_ms": 3_600_000}
        assert {"gate_id", "materialization_id", "run_id"} < created[1].keys()
        assert 0 <= signaled[0]["wait_duration_ms"] < 60_000


class TestDefinitions:
    def test_a_child_process_is_no_place_for_a_gate(self) -> None:
        p = Pipeline("p")
        gate = signal_gate(on_signal=lambda payload: payload)
        p.asset(name="gate", executor="process")(gate(in_a_process))

        with pytest.raises(DefinitionError, match="its Wait does not come back"):
            FlowStone(p)

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"timeout": "soon"}, "timeout='soon' is not a duration"),
            ({"timeout": 0}, "a gate that nobody can signal"),
            ({"timeout_retries": 13}, "a whole number, 0 to 12"),
            ({"on_timeout": "wait"}, "one of fail, retry, cancel"),
            ({"on_signal": lambda: 1}, "on_signal has to take the payload"),
        ],
    )
    def test_a_wrong_option_is_refused(self, options: dict[str, Any], said: str) -> None:
        with pytest.raises(InvalidOptionError, match=said):
            signal_gate(**{"on_signal": lambda payload: payload, **options})

    async def test_a_body_that_returns_no_wait_fails(self, app_of: AppOf) -> None:
        p = Pipeline("p")

        async def seven() -> Any:
            return 7

        p.asset(name="gate")(signal_gate(on_signal=lambda payload: payload)(seven))
        app = await app_of(p)

        with pytest.raises(RunFailedError, match=r"returned a int; write: return Wait\(token"):
            await app.run("p.gate")


def in_a_process() -> Wait:
    return Wait("task")


TOLD = ("create", "signal", "keep", "refused", "timeout", "timeout_retry", "cancel")


class TestTheEndOfWhatWaits:
    @pytest.mark.conformance(375)
    async def test_a_cancelled_run_closes_its_gate(self, app_of: AppOf) -> None:
        app = await app_of(gated(Story()))
        handle = await begun(app)

        await handle.cancel()

        assert (await the_gate(app)).status is GateStatus.CANCELLED
        assert await app.coordinator(GateCoordinator).waiting() == []
        with pytest.raises(GateCancelledError):
            await signal(app, "task", Done(1))

    @pytest.mark.conformance(360)
    async def test_a_cancelled_gate_cancels_what_waits(self, app_of: AppOf) -> None:
        app = await app_of(gated(Story()))
        handle = await begun(app)

        gate = await app.coordinator(GateCoordinator).cancel((await the_gate(app)).id)
        await drain(app)

        assert gate.status is GateStatus.CANCELLED
        assert (await statuses(app, handle.run_id))["gate"] == "cancelled"

    async def test_its_token_is_free_again_for_another_run(self, app_of: AppOf) -> None:
        app = await app_of(gated(Story()))
        await (await begun(app)).cancel()

        handle = await begun(app)
        await signal(app, "task", Done(1))
        await drain(app)

        assert await handle.result() == "2 pages"

    async def test_the_token_of_an_open_gate_is_nobody_elses(self, app_of: AppOf) -> None:
        app = await app_of(gated(Story()))
        first = await begun(app)
        second = await app.enqueue("p.gate", force=True)
        await drain(app)

        with pytest.raises(RunFailedError, match="token 'task' is taken"):
            await second.result()
        await signal(app, "task", Done(1))
        await drain(app)
        assert await first.result() == "2 pages"
