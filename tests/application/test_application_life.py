"""Applications in a process: opening and closing them, side by side, and without a loop."""

import asyncio
import contextvars
from typing import Any

import pytest

from flowstone import FlowStone, Pipeline, Requires, run_sync
from flowstone.core.contracts.resource import Resource
from flowstone.core.defaults.memory_io import MemoryIO
from flowstone.core.errors import (
    DefinitionError,
    FlowStoneError,
    InvalidOptionError,
    NotOpenError,
    NotRegisteredError,
    ResourceUnavailableError,
    RunFailedError,
    UnknownAssetError,
)
from tests.application.conftest import AppOf, on_postgres
from tests.application.stage import Heard, PostgresStage, Stage, drain


class Number(Resource[int]):
    def __init__(self, value: int) -> None:
        self.value = value
        self.told: list[str] = []

    async def setup(self, config: Any) -> int:
        self.told.append("setup")
        return self.value

    async def teardown(self, resource: int) -> None:
        self.told.append("teardown")


def pipeline(name: str = "p") -> Pipeline:
    p = Pipeline(name)

    @p.asset
    async def given(number: int = Requires(int)) -> int:
        return number

    @p.asset
    def plain() -> str:
        return name

    return p


class TestOpening:
    @on_postgres
    async def test_used_before_it_is_open_it_says_what_to_write(self, stage: Stage) -> None:
        app = stage.build(pipeline(), resources={int: Number(1)})

        for ask in (app.run, app.enqueue, app.plan, app.get, app.exists, app.status):
            with pytest.raises(NotOpenError, match="not open; write: async with app"):
                await ask("plain")  # type: ignore[operator]

    async def test_in_memory_it_needs_no_opening_but_for_its_resources(self) -> None:
        app = FlowStone(pipeline(), resources={int: Number(1)})

        assert await app.run("plain") == "p"
        with pytest.raises(ResourceUnavailableError, match="open the application first"):
            app.resources.get(int)

    async def test_opened_again_it_works_again(self, stage: Stage) -> None:
        number = Number(1)
        app = stage.build(pipeline(), resources={int: number})

        for _ in range(2):
            async with app:
                assert await app.run("given", force=True) == 1

        assert number.told == ["setup", "teardown"] * 2

    async def test_what_is_stored_outlives_it(self, stage: Stage) -> None:
        async with stage.build(pipeline(), resources={int: Number(1)}) as app:
            await app.run("plain")

        async with stage.build(pipeline(), resources={int: Number(1)}) as again:
            assert await again.get("plain") == "p"

    async def test_closing_twice_is_fine(self, stage: Stage) -> None:
        app = stage.build(pipeline(), resources={int: Number(1)})
        await app.open()
        await app.close()
        await app.close()

    async def test_an_exception_inside_closes_it(self, stage: Stage) -> None:
        number = Number(1)

        with pytest.raises(ZeroDivisionError):
            async with stage.build(pipeline(), resources={int: number}):
                raise ZeroDivisionError

        assert number.told == ["setup", "teardown"]


class TestSideBySide:
    async def test_two_share_nothing_but_their_store(self, app_of: AppOf) -> None:
        one = await app_of(pipeline("one"), resources={int: Number(1)}, io={"lake": MemoryIO()})
        two = await app_of(pipeline("two"), resources={int: Number(2)})
        heard_by_one, heard_by_two = Heard(one, ["run.start"]), Heard(two, ["run.start"])

        values = await asyncio.gather(one.run("given"), two.run("given"))

        assert values == [1, 2]
        assert [facts["targets"] for _, facts in heard_by_one.of("run.start")] == [["one.given"]]
        assert [facts["targets"] for _, facts in heard_by_two.of("run.start")] == [["two.given"]]
        with pytest.raises(UnknownAssetError):
            await two.run("one.given")
        with pytest.raises(NotRegisteredError):
            await two.run("given", io="lake")

    async def test_one_pipeline_may_belong_to_several(self, app_of: AppOf) -> None:
        p = pipeline()
        one = await app_of(p, resources={int: Number(1)})
        two = await app_of(p, resources={int: Number(2)})

        assert await one.run("given") == 1
        assert await two.run("given", force=True) == 2
        assert await one.get("given") == 2

    async def test_one_in_memory_and_one_elsewhere_do_not_meet(self, app_of: AppOf) -> None:
        p = pipeline()
        given = {int: Number(1)}
        app, memory = await app_of(p, resources=given), FlowStone(p, resources=given)
        async with memory:
            await memory.run("plain")

            assert not await app.exists("plain")
            assert memory.store.is_durable is False

    @on_postgres
    async def test_the_same_application_on_another_database(self, stage: PostgresStage) -> None:
        number = Number(1)
        app = FlowStone(pipeline(), resources={int: number})
        await app.run("plain")

        async with app.with_dsn(stage.dsn) as elsewhere:
            assert not await elsewhere.exists("plain")
            assert await elsewhere.run(["given", "plain"]) == [1, "p"]

        assert not await app.exists("given")
        assert number.told == ["setup", "teardown"]

    async def test_closing_one_leaves_the_other_at_work(self, stage: Stage) -> None:
        async with stage.build(pipeline(), resources={int: Number(1)}) as lasting:
            async with stage.build(pipeline(), resources={int: Number(1)}) as passing:
                handle = await lasting.enqueue("plain")
                assert await passing.run("plain") == "p"

            await drain(lasting)
            assert await handle.result() == "p"


class TestWithoutALoop:
    def test_it_opens_runs_and_closes(self, sync_stage: Stage) -> None:
        number = Number(7)
        app = sync_stage.build(pipeline(), resources={int: number})
        given = next(it for it in app.definitions.assets.values() if it.name == "given")

        assert run_sync(app, given) == 7
        assert run_sync(app, [given, "plain"]) == [7, "p"]
        assert run_sync(app, given, force=True, partition="x") == 7

        assert number.told == ["setup", "teardown"] * 3

    def test_what_went_wrong_is_raised(self, sync_stage: Stage) -> None:
        p = Pipeline("p")

        @p.asset
        def failing() -> int:
            raise ValueError("no")

        with pytest.raises(RunFailedError, match="no"):
            run_sync(sync_stage.build(p), failing)

    async def test_where_a_loop_runs_a_thread_does_the_work(self, stage: Stage) -> None:
        p = pipeline()
        plain = p.assets[1]
        app = stage.build(p, resources={int: Number(1)})

        assert run_sync(app, plain) == "p"

        async with app:
            assert await app.get(plain) == "p"

    async def test_the_thread_sees_the_callers_context_variables(self, stage: Stage) -> None:
        tenant = contextvars.ContextVar("tenant", default="nobody")
        p = Pipeline("p")

        @p.asset
        def told() -> str:
            return tenant.get()

        tenant.set("acme")

        assert run_sync(stage.build(p), told) == "acme"


class TestBadArguments:
    @pytest.mark.parametrize(
        ("given", "said"),
        [
            ("shop", "FlowStone() takes pipelines, not 'shop': FlowStone([Pipeline(...)])"),
            (None, "FlowStone() takes pipelines, not None: FlowStone([Pipeline(...)])"),
            ([7], "FlowStone() takes pipelines, not 7: FlowStone([Pipeline(...)])"),
            (
                [pipeline("shop").assets[0]],
                "FlowStone() takes pipelines, not the asset 'shop.given': FlowStone([shop])",
            ),
        ],
        ids=repr,
    )
    def test_what_is_no_pipeline(self, given: Any, said: str) -> None:
        with pytest.raises(DefinitionError) as caught:
            FlowStone(given)

        assert str(caught.value) == said

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"dsn": 5}, "dsn must be a text such as postgresql://user@host/database, or None"),
            ({"dsn": "sqlite:///me:secret@x"}, "no plugin is registered as 'sqlite', for rows at "),
            ({"plugins": "scatter"}, 'plugins must be a list: plugins=["scatter"]'),
            ({"resources": {int: 1}}, "resources: int must be given as a Resource, whose setup()"),
            ({"resources": {"int": 1}}, "resources: 'int' must be the type that Requires() asks"),
        ],
        ids=str,
    )
    def test_an_option_of_another_kind(self, options: Any, said: str) -> None:
        with pytest.raises(FlowStoneError) as caught:
            FlowStone([Pipeline("p")], **options)

        assert str(caught.value).startswith(said)
        assert "secret" not in str(caught.value)

    async def test_an_option_that_is_not_there(self, app_of: AppOf) -> None:
        p = pipeline()

        @p.job
        def told() -> None: ...

        app: Any = await app_of(p, resources={int: Number(1)})

        for ask, given, said in (
            (app.run, "partion", "there is no option partion=; did you mean partition=?"),
            (app.plan, "forced", "there is no option forced=; did you mean force=?"),
            (app.enqueue, "dedup", "there is no option dedup=; did you mean dedupe=?"),
            (app.run, "dedupe", "dedupe= is an option of enqueue, and not of this call"),
            (app.enqueue, "zzz", "there is no option zzz=; there are: partition, force, "),
        ):
            with pytest.raises(InvalidOptionError) as caught:
                await ask("plain", **{given: 1})
            assert str(caught.value).startswith(said)
        with pytest.raises(InvalidOptionError, match=r"no option dely=; did you mean delay=\?"):
            await app.enqueue(told.with_(), dely=1)

        assert await app.store.runs() == []
