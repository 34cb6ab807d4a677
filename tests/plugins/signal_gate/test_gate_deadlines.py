"""What happens to a gate when no signal comes in time."""

from datetime import timedelta

import pytest

from flowstone import Retry, RunFailedError
from flowstone.core.errors import RunCancelledError
from flowstone.plugins.signal_gate import (
    GateExpiredError,
    GateStatus,
    GateTimeoutError,
    SignalGates,
    signal,
)
from tests.application.conftest import AppOf
from tests.application.stage import Stage, drain, statuses
from tests.plugins.signal_gate.gated import SECRET, Done, Story, begun, gated, the_gate


class TestTime:
    async def test_without_a_signal_it_fails_at_the_deadline(
        self, app_of: AppOf, stage: Stage
    ) -> None:
        story = Story()
        app = await app_of(gated(story, timeout="1h"))
        handle = await begun(app)
        await stage.advance("59m")
        await drain(app)
        assert (await the_gate(app)).is_open

        await stage.advance("2m")
        await drain(app)

        with pytest.raises(RunFailedError, match="no signal came for 'task'"):
            await handle.result()
        assert (await the_gate(app)).status is GateStatus.TIMEOUT
        with pytest.raises(GateExpiredError):
            await signal(app, "task", Done(1))
        assert story == Story(bodies=1)

    @pytest.mark.conformance(377)
    async def test_only_what_is_due_times_out(self, app_of: AppOf, stage: Stage) -> None:
        app = await app_of(gated(Story(), timeout="1h"))
        first = await begun(app)
        await stage.advance("30m")
        other = await app_of(gated(Story(), token="other", timeout="1h"))
        second = await other.enqueue("p.after", force=True)
        await drain(other)

        await stage.advance("31m")
        await drain(app)

        assert (await statuses(app, first.run_id))["gate"] == "failed"
        assert (await statuses(app, second.run_id))["gate"] == "waiting"

    async def test_from_its_deadline_on_no_signal_is_taken(
        self, app_of: AppOf, stage: Stage
    ) -> None:
        app = await app_of(gated(Story(), timeout="1h", on_timeout="call"))
        handle = await begun(app)

        await stage.advance("1h")
        with pytest.raises(GateExpiredError):
            await signal(app, "task", Done(1))
        await drain(app)

        assert await handle.result() == "-1 pages"

    async def test_a_function_may_make_the_value_instead(self, app_of: AppOf, stage: Stage) -> None:
        story = Story(late_failures=[ValueError("not now")])
        app = await app_of(gated(story, on_timeout="call", retry=Retry(2, base=0)))
        handle = await begun(app)

        await stage.advance("61m")
        await drain(app)

        assert await handle.result() == "-1 pages"
        assert (story.bodies, story.lates) == (1, 2)

    async def test_it_may_give_up_on_purpose(self, app_of: AppOf, stage: Stage) -> None:
        app = await app_of(gated(Story(), on_timeout="cancel"))
        handle = await begun(app)

        await stage.advance("61m")
        await drain(app)

        with pytest.raises(RunCancelledError):
            await handle.result()

    @pytest.mark.conformance(362)
    async def test_it_may_wait_on_for_longer_and_longer(self, app_of: AppOf, stage: Stage) -> None:
        heard = Story()
        app = await app_of(gated(heard, on_timeout="retry", timeout_retries=2))
        handle = await begun(app)
        for so_far, minutes in enumerate((60, 5)):
            await stage.advance(timedelta(minutes=minutes, seconds=1))
            await drain(app)
            gate = await the_gate(app)
            assert (gate.status, gate.timeout_retries) == (GateStatus.WAITING, so_far + 1)
            left = timedelta(minutes=(5, 15)[so_far])
            assert left - timedelta(minutes=1) < (gate.remaining or left) <= left

        await signal(app, "task", Done(1))
        await drain(app)
        assert await handle.result() == "2 pages"

    async def test_it_fails_when_it_has_waited_on_often_enough(
        self, app_of: AppOf, stage: Stage
    ) -> None:
        app = await app_of(gated(Story(), on_timeout="retry", timeout_retries=1))
        handle = await begun(app)
        for minutes in (61, 6):
            await stage.advance(timedelta(minutes=minutes))
            await drain(app)

        with pytest.raises(RunFailedError, match="no signal came"):
            await handle.result()

    async def test_one_that_waits_on_is_open_in_between_too(
        self, app_of: AppOf, stage: Stage
    ) -> None:
        app = await app_of(gated(Story(), on_timeout="retry"))
        handle = await begun(app)

        await stage.advance("2h")
        await signal(app, "task", Done(1))
        await drain(app)

        assert await handle.result() == "2 pages"

    async def test_the_asset_is_begun_again_if_its_retry_says_so(
        self, app_of: AppOf, stage: Stage
    ) -> None:
        story = Story()
        retry = Retry(2, base=0, on=GateTimeoutError)
        app = await app_of(
            gated(story, token=None, retry=retry), plugins=[SignalGates(secrets=[SECRET])]
        )
        handle = await begun(app)
        first = await the_gate(app)

        await stage.advance("61m")
        await drain(app)
        second = await the_gate(app)
        with pytest.raises(GateExpiredError):
            await signal(app, first.token, Done(1))
        await signal(app, second.token, Done(2))
        await drain(app)

        assert await handle.result() == "3 pages"
        assert (story.bodies, second.attempt) == (2, 2)

    async def test_a_gate_without_a_timeout_waits_for_ever(
        self, app_of: AppOf, stage: Stage
    ) -> None:
        app = await app_of(gated(Story(), timeout=None))
        handle = await begun(app)
        await stage.advance("20d")
        await drain(app)

        await signal(app, "task", Done(1))
        await drain(app)
        assert await handle.result() == "2 pages"
