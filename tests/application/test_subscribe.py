"""Following a run by its events, in memory and on Postgres."""

import asyncio
import time
from collections.abc import AsyncIterator
from types import SimpleNamespace

import pytest

from flowstone import Cancel, Definition, Dep, Pipeline, Retry
from flowstone.core import following
from flowstone.core.contracts.store import Progress
from flowstone.core.contracts.strategy import Execution, Strategy
from flowstone.core.errors import InvalidOptionError, RunNotFoundError
from flowstone.core.following import Following
from flowstone.core.outcome import Outcome, Stored, Waiting, Wake
from flowstone.core.subscription import AssetEvent, Happening, RunEvent
from tests.application.conftest import AppOf, in_memory, on_postgres
from tests.application.stage import PostgresStage, Stage, drain, eventually, working


class Door(Strategy):
    """Waits until somebody opens it."""

    async def start(self, execution: Execution) -> Outcome:
        return Waiting("door")

    async def resume(self, execution: Execution, wake: Wake) -> Outcome:
        return Stored(wake.payload)


class Steps:
    """Two assets, the first of which ends when the test says so."""

    def __init__(self) -> None:
        self.pipeline = Pipeline("p")
        self.may_end = asyncio.Event()

        @self.pipeline.asset
        async def first() -> int:
            await self.may_end.wait()
            return 1

        @self.pipeline.asset
        async def second(first: int = Dep(first)) -> int:
            return first + 1


def broken(failures: int) -> Pipeline:
    p = Pipeline("p")

    @p.asset(retry=Retry(failures + 1, base="1ms"))
    async def flaky() -> int:
        raise ValueError("no")

    @p.asset
    async def after(flaky: int = Dep(flaky)) -> int:
        return flaky

    @p.asset
    async def given_up() -> int | Cancel:
        return Cancel("not today")

    return p


def gated() -> Pipeline:
    p = Pipeline("p")

    def never_called() -> str: ...

    definition: Definition[..., str] = Definition(never_called, strategy=Door(), value_type=str)
    p.asset(name="gate")(definition)
    return p


def told(event: Happening) -> tuple[str, str]:
    name = "run" if isinstance(event, RunEvent) else event.asset
    return name, event.status.value


async def next_of(events: AsyncIterator[Happening], name: str, status: str) -> Happening:
    """Go on to an event; an asset may have taken several steps at once, so others may be before."""
    async with asyncio.timeout(60):
        async for event in events:
            if told(event) == (name, status):
                return event
    raise AssertionError(f"the run ended without {name} {status}")


class TestEvents:
    async def test_every_asset_is_told_to_its_end_and_the_runs_end_is_last(
        self, app_of: AppOf
    ) -> None:
        steps = Steps()
        app = await app_of(steps.pipeline)
        handle = await app.enqueue("second", partition="x")
        async with working(app):
            events = app.subscribe(run=handle.run_id)
            begun = await anext(events)
            first = await next_of(events, "p.first", "running")
            steps.may_end.set()
            rest = [event async for event in events]

        record = await handle.status()
        assert begun == RunEvent(handle.run_id, record.status.RUNNING, record.created_at)
        assert isinstance(first, AssetEvent)
        assert (first.partition, first.attempt, first.error) == ("x", 1, {})
        assert [told(it) for it in rest if told(it)[1] == "succeeded"] == [
            ("p.first", "succeeded"),
            ("p.second", "succeeded"),
            ("run", "succeeded"),
        ]
        assert told(rest[-1]) == ("run", "succeeded")
        assert rest[-1].at == record.finished_at
        instants = [first.at, *(it.at for it in rest if told(it)[1] == "succeeded")]
        assert instants == sorted(instants)

    async def test_a_wait_says_what_for_and_ends_when_it_is_woken(self, app_of: AppOf) -> None:
        app = await app_of(gated())
        handle = await app.enqueue("gate")
        async with working(app):
            events = app.subscribe(run=handle.run_id)
            wait = await next_of(events, "p.gate", "waiting")
            assert isinstance(wait, AssetEvent)
            assert (wait.waiting_on, wait.external) == ("door", True)

            await app.store.wake(wait.materialization_id, '"open"')
            ended = await next_of(events, "p.gate", "succeeded")
            await next_of(events, "run", "succeeded")

        assert isinstance(ended, AssetEvent)
        assert (ended.waiting_on, ended.external) == (None, False)

    async def test_failures_come_with_their_error(self, app_of: AppOf) -> None:
        app = await app_of(broken(1))
        handle = await app.enqueue_many(["after", "given_up"])
        await drain(app)
        async with working(app):
            events = [event async for event in app.subscribe(run=handle.run_id)]

        last = {it.asset: it for it in events if isinstance(it, AssetEvent)}
        assert {name: (it.status.value, it.attempt) for name, it in last.items()} == {
            "p.flaky": ("failed", 2),
            "p.after": ("upstream_failed", 0),
            "p.given_up": ("cancelled", 1),
        }
        assert last["p.flaky"].error["type"] == "ValueError"
        assert last["p.after"].error["upstream"] == "p.flaky"
        assert last["p.given_up"].error["message"] == "not today"
        assert told(events[-1]) == ("run", "failed")

    async def test_who_comes_after_the_end_is_told_how_it_ended(self, app_of: AppOf) -> None:
        steps = Steps()
        steps.may_end.set()
        app = await app_of(steps.pipeline)
        handle = await app.enqueue("second")
        await drain(app)

        events = [event async for event in app.subscribe(run=handle.run_id)]

        assert [told(it) for it in events] == [
            ("p.first", "succeeded"),
            ("p.second", "succeeded"),
            ("run", "succeeded"),
        ]

    async def test_a_run_with_nothing_to_do_ends_at_once(self, app_of: AppOf) -> None:
        steps = Steps()
        steps.may_end.set()
        app = await app_of(steps.pipeline)
        await app.run("first")
        handle = await app.enqueue("first")

        assert [told(it) async for it in app.subscribe(run=handle.run_id)] == [("run", "succeeded")]


class TestSubscribers:
    async def test_all_of_several_hear_of_their_own_run(self, app_of: AppOf) -> None:
        steps = Steps()
        steps.may_end.set()
        app = await app_of(steps.pipeline)
        handles = [await app.enqueue("second", partition=n) for n in range(3)]

        async def heard(run_id: int) -> list[Happening]:
            return [event async for event in app.subscribe(run=run_id)]

        listening = [asyncio.create_task(heard(it.run_id)) for it in handles for _ in range(2)]
        async with working(app):
            all_events = await asyncio.wait_for(asyncio.gather(*listening), 60)

        for handle, events in zip(
            (it for it in handles for _ in range(2)), all_events, strict=True
        ):
            assert {it.run_id for it in events} == {handle.run_id}
            assert told(events[-1]) == ("run", "succeeded")

    async def test_one_who_leaves_early_is_forgotten(self, app_of: AppOf) -> None:
        steps = Steps()
        app = await app_of(steps.pipeline)
        before = app.store.wakeups.topics
        handle = await app.enqueue("second")

        async for event in app.subscribe(run=handle.run_id):
            assert app.store.wakeups.topics > before
            if told(event) == ("p.first", "ready"):
                break

        await eventually(lambda: app.store.wakeups.topics == before)

    async def test_closing_the_application_ends_it_and_no_other(
        self, app_of: AppOf, stage: Stage
    ) -> None:
        steps = Steps()
        app, other = await app_of(steps.pipeline), await app_of(steps.pipeline)
        handle = await app.enqueue("first")
        ending, going_on = (it.subscribe(run=handle.run_id) for it in (app, other))
        for events in (ending, going_on):
            assert told(await anext(events)) == ("run", "running")

        await app.close()
        rest = [event async for event in ending]
        steps.may_end.set()
        async with working(other):
            await next_of(going_on, "run", "succeeded")
            await going_on.aclose()

        assert [told(it) for it in rest] == [("p.first", "ready")]

    async def test_an_unknown_run_is_an_error(self, app_of: AppOf) -> None:
        app = await app_of(gated())

        with pytest.raises(RunNotFoundError):
            await anext(app.subscribe(run=999_999_999))

    async def test_what_is_no_run_is_refused(self, app_of: AppOf) -> None:
        app = await app_of(gated())

        with pytest.raises(InvalidOptionError, match=r"run=handle\.run_id"):
            await anext(app.subscribe(run=app.handle(1)))  # type: ignore[arg-type]


@in_memory
async def test_one_look_that_took_long_puts_off_none_that_follow(
    app_of: AppOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps, late = Steps(), 0.0
    app = await app_of(steps.pipeline)
    handle = await app.enqueue("second")
    look = Following.look

    async def slow_at_first(self: Following) -> Progress:
        nonlocal late
        monkeypatch.setattr(Following, "look", look)
        late = 300.0
        return await look(self)

    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + late)
    monkeypatch.setattr(following, "time", clock)
    monkeypatch.setattr(Following, "look", slow_at_first)
    async with working(app):
        events = app.subscribe(run=handle.run_id)
        await anext(events)
        steps.may_end.set()

        await next_of(events, "run", "succeeded")


class TestWakeUps:
    """The looks in between are put off for ever, so only announcements move it."""

    @pytest.fixture(autouse=True)
    def _only_announced(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(following, "FIRST_PAUSE_SECONDS", 3600.0)
        monkeypatch.setattr(following, "LONGEST_PAUSE_SECONDS", 3600.0)

    async def test_the_end_is_announced(self, app_of: AppOf) -> None:
        steps = Steps()
        app = await app_of(steps.pipeline)
        handle = await app.enqueue("second")
        async with working(app):
            events = app.subscribe(run=handle.run_id)
            await anext(events)
            steps.may_end.set()

            await next_of(events, "run", "succeeded")

    async def test_a_wake_up_is_announced(self, app_of: AppOf) -> None:
        app = await app_of(gated())
        handle = await app.enqueue("gate")
        await drain(app)
        events = app.subscribe(run=handle.run_id)
        wait = await next_of(events, "p.gate", "waiting")
        assert isinstance(wait, AssetEvent)

        await app.store.wake(wait.materialization_id, "1")

        await next_of(events, "p.gate", "ready")
        await events.aclose()

    @in_memory
    async def test_in_memory_every_step_is_announced(self, app_of: AppOf) -> None:
        steps = Steps()
        app = await app_of(steps.pipeline)
        handle = await app.enqueue("second")
        events = app.subscribe(run=handle.run_id)
        await next_of(events, "p.first", "ready")
        async with working(app):
            await next_of(events, "p.first", "running")
            steps.may_end.set()
            await next_of(events, "run", "succeeded")


@on_postgres
class TestOnPostgres:
    async def test_what_commits_late_is_in_the_next_look(
        self, app_of: AppOf, stage: PostgresStage
    ) -> None:
        app = await app_of(gated())
        handle = await app.enqueue("gate")
        await drain(app)
        (waiting,) = (await app.store.progress(handle.run_id)).changed
        with stage.admin.transaction():
            stage.admin.execute("SELECT flowstone_wake_v1(%s, '1')", [waiting.id])
            for _ in range(3):
                await app.enqueue("gate", partition=1)  # others begin and commit meanwhile
            mark = (await app.store.progress(handle.run_id)).mark

        found = await app.store.progress(handle.run_id, since=mark)

        assert [it.status.value for it in found.changed] == ["ready"]

    async def test_what_is_read_twice_is_told_once(
        self, app_of: AppOf, stage: PostgresStage
    ) -> None:
        app = await app_of(gated())
        with stage.admin.transaction():
            stage.admin.execute("SELECT pg_current_xact_id()")  # holds every mark back
            handle = await app.enqueue("gate")
            looking = Following(app.store, handle.run_id)
            first = await looking.look()

            read = await app.store.progress(handle.run_id, since=first.mark)
            second = await looking.look()

        assert [len(it.changed) for it in (first, read, second)] == [1, 1, 0]

    async def test_a_lost_connection_is_waited_for(
        self, app_of: AppOf, stage: PostgresStage
    ) -> None:
        steps = Steps()
        app, worker_app = await app_of(steps.pipeline), await app_of(steps.pipeline)
        handle = await app.enqueue("second")
        events = app.subscribe(run=handle.run_id)
        await anext(events)

        stage.admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        steps.may_end.set()
        async with working(worker_app):
            await next_of(events, "run", "succeeded")
