"""What a definition says is what a run does, in memory."""

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any

import pytest

from flowstone import Config, Context, Dep, FlowStone, Pipeline, RunFailedError, Skip
from flowstone.core.asset import Asset, Definition, Phase
from flowstone.core.contracts.strategy import Execution, Strategy
from flowstone.core.outcome import Outcome, Stored, Wake
from flowstone.core.source import Edge, Source, Upstream


@asynccontextmanager
async def application(*pipelines: Pipeline) -> AsyncIterator[FlowStone]:
    async with FlowStone(list(pipelines)) as app:
        yield app


async def value_of(asset: Asset[..., Any], **options: Any) -> Any:
    pipeline = Pipeline(asset.pipeline)
    pipeline.add(asset)
    async with application(pipeline) as app:
        return await app.run(asset, **options)


class TestPlainValues:
    @pytest.mark.conformance(30)
    async def test_a_text(self) -> None:
        @Pipeline("p").asset
        async def constant() -> str:
            return "hello"

        assert await value_of(constant) == "hello"

    @pytest.mark.conformance(31)
    async def test_a_mapping(self) -> None:
        @Pipeline("p").asset
        async def constant() -> dict[str, str]:
            return {"key": "value"}

        assert await value_of(constant) == {"key": "value"}

    @pytest.mark.conformance(32)
    async def test_a_short_form(self) -> None:
        computed = Pipeline("p").asset(name="computed")(lambda: "computed")

        assert await value_of(computed) == "computed"

    @pytest.mark.conformance(33)
    @pytest.mark.parametrize("value", ["just a value", {"status": "done"}, [1, 2, 3], None])
    async def test_whatever_is_returned_is_the_value(self, value: object) -> None:
        constant = Pipeline("p").asset(name="constant")(lambda: value)

        assert await value_of(constant) == value

    @pytest.mark.conformance(35)
    async def test_a_failure_is_logged_with_the_asset(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        @Pipeline("p").asset(retry=1)
        async def failing() -> None:
            raise ValueError("failed")

        with caplog.at_level(logging.ERROR), pytest.raises(RunFailedError, match="failed"):
            await value_of(failing)

        (record,) = (it for it in caplog.records if "FlowStone error" in it.getMessage())
        assert "p.failing" in record.getMessage()


class TestEdges:
    @pytest.mark.conformance(43)
    async def test_a_downstream_computes_from_its_upstream(self) -> None:
        p = Pipeline("p")
        base = p.asset(name="base")(lambda: 10)

        @p.asset
        async def multiplied(base: int = Dep(base)) -> int:
            return base * 2

        async with application(p) as app:
            assert await app.run(multiplied) == 20

    @pytest.mark.conformance(42)
    async def test_an_asset_and_its_name_are_the_same_to_the_application(self) -> None:
        p = Pipeline("p")

        @p.asset
        async def greeting(ctx: Context) -> str:
            return f"Hello {ctx.partition or ''}".strip()

        @p.asset
        async def farewell(greeting: str = Dep(greeting)) -> str:
            return greeting.replace("Hello", "Goodbye")

        async with application(p) as app:
            assert not await app.exists(farewell)
            assert not await app.exists("farewell")
            assert await app.run("farewell") == "Goodbye"
            assert await app.run("p.farewell", partition="you") == "Goodbye you"
            assert await app.exists(farewell)
            assert await app.exists("farewell", partition="you")
            assert await app.get(farewell, partition="you") == await app.run(
                farewell, partition="you"
            )
            assert [asset.name for asset in p.assets] == ["greeting", "farewell"]
            assert app.graph() == app.graph(p) == "greeting\n└── farewell"

    async def test_annotated_edges_load_their_values(self) -> None:
        p = Pipeline("p")
        base = p.asset(name="base")(lambda: [1, 2])

        @p.asset
        async def size(values: Annotated[tuple[int, ...], Dep(base)]) -> int:
            assert values == (1, 2)
            return len(values)

        async with application(p) as app:
            assert await app.run(size) == 2

    async def test_a_skipped_optional_upstream_is_none(self) -> None:
        p = Pipeline("p")

        @p.asset
        async def empty() -> int | Skip:
            return Skip("nothing today")

        @p.asset
        async def report(base: int | None = Dep(empty, optional=True)) -> str:
            return f"got {base}"

        async with application(p) as app:
            assert await app.run(report) == "got None"

    async def test_what_only_comes_first_is_not_loaded(self) -> None:
        p = Pipeline("p")
        seen: list[str] = []

        @p.asset
        def first() -> None:
            seen.append("first")

        @p.asset(after=[first])
        def second() -> None:
            seen.append("second")

        async with application(p) as app:
            await app.run(second)

        assert seen == ["first", "second"]


class ReportConfig(Config):
    top_n: int = 10


class TestByType:
    async def test_the_partition_has_the_type_that_the_context_says(self) -> None:
        @Pipeline("p").asset
        async def report(ctx: Context[int]) -> int:
            assert type(ctx.partition) is int
            return ctx.partition + 1

        @Pipeline("p").asset
        async def daily(ctx: Context[date]) -> int:
            return ctx.partition.day

        assert await value_of(report, partition=41) == 42
        assert await value_of(daily, partition=date(2024, 2, 29)) == 29

    async def test_a_runs_configuration_reaches_the_function(self) -> None:
        @Pipeline("p").asset
        async def report(config: ReportConfig) -> int:
            return config.top_n

        assert await value_of(report) == 10
        assert await value_of(report, config={"top_n": 3}) == 3
        assert await value_of(report, config=ReportConfig(top_n=4)) == 4

    async def test_positional_only_parameters_are_served(self) -> None:
        @Pipeline("p").asset
        def report(ctx: Context, config: ReportConfig, /) -> int:
            return config.top_n

        assert await value_of(report) == 10


@dataclass(frozen=True)
class FirstOf(Source):
    """A plugin's source: the first upstream that has a value."""

    names: tuple[str, ...]

    def edges(self) -> Sequence[Edge]:
        return [Edge(name, optional=True) for name in self.names]

    def resolve(self, upstreams: Sequence[Upstream]) -> object:
        return next((it.value for it in upstreams if it.has_value), Skip("no branch ran"))


class Each(Strategy):
    """A plugin's strategy: the function for each item, then gather."""

    async def start(self, execution: Execution) -> Outcome:
        items: Any = await execution.call_phase("items")
        results = [await execution.call(item=item) for item in items]
        return Stored(await execution.call_phase("gather", results=results))

    async def resume(self, execution: Execution, wake: Wake) -> Outcome:
        raise NotImplementedError


class TestPlugins:
    async def test_a_source_of_their_own_merges_branches(self) -> None:
        geo = Pipeline("geo")
        geo.asset(name="by_mgrs")(lambda: Skip("no grid"))
        geo.asset(name="by_name")(lambda: "Kyiv")

        @geo.asset
        async def region(found: Annotated[str, FirstOf(("by_mgrs", "by_name"))]) -> str:
            return found

        async with application(geo) as app:
            assert await app.run(region) == "Kyiv"

    async def test_a_strategy_supplies_items_and_gathers(self) -> None:
        p = Pipeline("p")
        words = p.asset(name="words")(lambda: ["a", "bb"])

        def items(found: list[str] = Dep(words)) -> list[str]:
            return found

        def body(item: str, found: list[str] = Dep(words)) -> int:
            return len(item) * len(found)

        async def gather(results: list[int], config: ReportConfig) -> int:
            return sum(results) + config.top_n

        phases = {"items": items, "gather": Phase(gather, supplied=["results"])}
        definition: Definition[..., int] = Definition(
            body, strategy=Each(), phases=phases, supplied=1, value_phase="gather"
        )
        total = p.asset(name="total")(definition)

        async with application(p) as app:
            assert await app.run(total) == 2 + 4 + 10
