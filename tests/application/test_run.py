"""Running assets here and now: what is computed, in which order, and what comes back."""

from collections import Counter

import pytest

from flowstone import Context, Dep, Pipeline
from flowstone.core.errors import (
    DefinitionError,
    DependencyNotReadyError,
    InvalidOptionError,
    UnknownAssetError,
)
from tests.application.conftest import AppOf
from tests.application.stage import drain, newest_run, steps
from tests.application.sums import sums


class TestOneTarget:
    @pytest.mark.conformance(142)
    async def test_an_asset_is_computed_and_its_value_returned(self, app_of: AppOf) -> None:
        p = Pipeline("p")

        @p.asset
        async def greeting() -> str:
            return "Hello, World!"

        app = await app_of(p)

        assert await app.run(greeting) == "Hello, World!"
        assert await app.run("greeting") == "Hello, World!"
        assert await app.run("p.greeting") == "Hello, World!"

    @pytest.mark.conformance(125, 143)
    async def test_what_it_depends_on_is_computed_first(self, app_of: AppOf) -> None:
        p, computed = sums()
        app = await app_of(p)

        assert await app.run("total") == 30
        assert computed == {"numbers": 1, "doubled": 1, "total": 1}

    @pytest.mark.conformance(94)
    async def test_a_stored_upstream_is_loaded_and_the_result_stored(self, app_of: AppOf) -> None:
        p = Pipeline("p")

        @p.asset
        async def base() -> str:
            return "value"

        @p.asset
        async def target(base: str = Dep(base)) -> tuple[str, str]:
            return "result", base

        app = await app_of(p)
        await app.run(base, partition="p1")

        assert await app.run(target, partition="p1", with_deps=False) == ("result", "value")
        assert await app.get(target, partition="p1") == ("result", "value")

    @pytest.mark.conformance(104)
    async def test_a_success_is_recorded_with_what_it_was_made_from(self, app_of: AppOf) -> None:
        p, _ = sums()
        app = await app_of(p)
        await app.run("total")
        status = await app.status("doubled")
        assert status.latest is not None

        upstream, downstream = await app.store.lineage(status.latest.key)

        assert [key.asset for key in upstream] == ["sums.numbers"]
        assert [key.asset for key in downstream] == ["sums.total"]
        assert status.latest.status == "succeeded"

    async def test_names_may_be_of_any_script(self, app_of: AppOf) -> None:
        p = Pipeline("größe")
        p.asset(name="số_lượng")(lambda: 1)
        app = await app_of(p)
        handle = await app.enqueue("số_lượng")

        await drain(app)

        assert await handle.result() == 1
        assert await app.get("größe.số_lượng") == 1

    async def test_none_is_a_value(self, app_of: AppOf) -> None:
        p, calls = Pipeline("p"), Counter[str]()

        @p.asset
        async def nothing() -> None:
            calls["nothing"] += 1

        @p.asset
        async def told(nothing: None = Dep(nothing)) -> str:
            return f"got {nothing}"

        app = await app_of(p)

        assert await app.run(told) == "got None"
        assert await app.exists(nothing)
        assert await app.run(nothing) is None
        assert calls == {"nothing": 1}

    async def test_an_asset_is_still_the_function_it_was(self, app_of: AppOf) -> None:
        p, _ = sums()
        await app_of(p)
        numbers, doubled, total = p.assets

        assert await numbers() == [1, 2, 3, 4, 5]  # type: ignore[misc]
        assert doubled([1]) == [2]
        assert await total([2, 3]) == 5  # type: ignore[misc]


class TestSharedUpstreams:
    async def test_what_a_diamond_shares_is_computed_once(self, app_of: AppOf) -> None:
        p, computed = Pipeline("p"), Counter[str]()

        @p.asset
        async def top() -> int:
            computed["top"] += 1
            return 1

        @p.asset
        async def left(top: int = Dep(top)) -> int:
            return top + 1

        @p.asset
        def right(top: int = Dep(top)) -> int:
            return top + 2

        @p.asset
        async def bottom(
            left: int = Dep(left), right: int = Dep(right), top: int = Dep(top)
        ) -> int:
            return left * 100 + right * 10 + top

        app = await app_of(p)

        assert await app.run(bottom) == 231
        assert computed == {"top": 1}

    async def test_several_targets_are_one_run_and_a_list(self, app_of: AppOf) -> None:
        p, computed = sums()
        other = Pipeline("other")

        @other.asset
        async def largest(numbers: list[int] = Dep("sums.numbers", type=list[int])) -> int:
            return max(numbers)

        app = await app_of(p, other)

        assert await app.run(["total", largest, "numbers"]) == [30, 5, [1, 2, 3, 4, 5]]
        assert computed["numbers"] == 1
        assert len(await app.store.runs()) == 1

    async def test_a_target_named_twice_is_computed_once(self, app_of: AppOf) -> None:
        p, computed = sums()
        app = await app_of(p)

        assert await app.run(["numbers", "sums.numbers"]) == [[1, 2, 3, 4, 5]]
        assert computed == {"numbers": 1}

    async def test_a_wide_and_a_deep_graph_are_computed_whole(self, app_of: AppOf) -> None:
        p = Pipeline("p")
        for number in range(150):
            p.asset(name=f"leaf_{number}")(lambda: None)
        previous = p.asset(name="link_0")(lambda: 0)
        for number in range(1, 40):

            @p.asset(name=f"link_{number}")
            async def link(before: int = Dep(previous)) -> int:
                return before + 1

            previous = link
        app = await app_of(p)

        handle = await app.enqueue_many(p)
        await app.finish(handle)

        assert (await handle.result())[:151] == [None] * 150 + [0]
        assert await app.get(previous) == 39


class TestWithoutUpstreams:
    @pytest.mark.conformance(95, 150)
    async def test_an_upstream_without_a_value_is_named_and_nothing_written(
        self, app_of: AppOf
    ) -> None:
        p, computed = sums()
        app = await app_of(p)

        with pytest.raises(DependencyNotReadyError) as caught:
            await app.run("total", with_deps=False, partition="p2")

        assert caught.value.missing == ("sums.doubled",)
        assert (caught.value.asset, caught.value.partition) == ("sums.total", "p2")
        assert computed == {}
        assert await app.store.runs() == []

    async def test_all_that_is_missing_is_named(self, app_of: AppOf) -> None:
        p = Pipeline("p")
        one = p.asset(name="one")(lambda: 1)
        two = p.asset(name="two")(lambda: 2)

        @p.asset
        async def both(one: int = Dep(one), two: int = Dep(two)) -> int:
            return one + two

        app = await app_of(p)

        with pytest.raises(DependencyNotReadyError, match=r"\[p.one, p.two\]"):
            await app.run(both, with_deps=False)

    async def test_targets_of_one_run_are_upstreams_of_one_another(self, app_of: AppOf) -> None:
        p, computed = sums()
        app = await app_of(p)

        assert await app.run(["total", "doubled", "numbers"], with_deps=False) == [
            30,
            [2, 4, 6, 8, 10],
            [1, 2, 3, 4, 5],
        ]
        assert computed == {"numbers": 1, "doubled": 1, "total": 1}

    async def test_an_upstream_is_taken_as_it_is_stored(self, app_of: AppOf) -> None:
        p, computed = sums()
        app = await app_of(p)
        await app.run("doubled")
        await app.run("numbers", force=True)

        assert await app.run("total", with_deps=False) == 30
        assert computed == {"numbers": 2, "doubled": 1, "total": 1}

    async def test_an_invalidated_upstream_counts_as_missing(self, app_of: AppOf) -> None:
        p, _ = sums()
        app = await app_of(p)
        await app.run("doubled")
        await app.invalidate("doubled")

        with pytest.raises(DependencyNotReadyError):
            await app.run("total", with_deps=False)


class TestUnknownTargets:
    @pytest.mark.conformance(118, 144)
    async def test_every_question_about_one_names_what_was_meant(self, app_of: AppOf) -> None:
        p = Pipeline("p")
        p.asset(name="greeting")(lambda: "hello")
        app = await app_of(p)

        for ask in ("run", "enqueue", "plan", "get", "exists", "status", "invalidate"):
            with pytest.raises(UnknownAssetError, match="Did you mean") as caught:
                await getattr(app, ask)("greting")
            assert caught.value.suggestion in ("greeting", "p.greeting")
            assert "p.greeting" in caught.value.available

        assert await app.store.runs() == []

    async def test_an_asset_of_another_application_is_unknown(self, app_of: AppOf) -> None:
        p, _ = sums()
        stranger = Pipeline("stranger").asset(name="stranger")(lambda: 1)
        app = await app_of(p)

        with pytest.raises(UnknownAssetError, match=r"stranger\.stranger"):
            await app.run(stranger)

    async def test_what_is_no_asset_is_refused_as_such(self, app_of: AppOf) -> None:
        p, _ = sums()
        app = await app_of(p)

        def forgotten() -> int:
            return 1

        for ask in ("run", "enqueue", "enqueue_many", "plan", "get", "exists", "status"):
            with pytest.raises(DefinitionError, match="'forgotten' is no asset; is @pipeline"):
                await getattr(app, ask)(forgotten)
            with pytest.raises(DefinitionError, match="'7' is no asset"):
                await getattr(app, ask)(7)

        assert await app.store.runs() == []

    async def test_asking_for_nothing_is_refused(self, app_of: AppOf) -> None:
        p, _ = sums()
        app = await app_of(p)

        with pytest.raises(InvalidOptionError, match="name at least one asset"):
            await app.run([])
        assert await app.store.runs() == []


class TestContext:
    @pytest.mark.conformance(83)
    async def test_a_function_knows_its_asset_partition_run_and_attempt(
        self, app_of: AppOf
    ) -> None:
        p = Pipeline("p")
        seen: list[Context] = []

        @p.asset
        def told(ctx: Context) -> None:
            seen.append(ctx)

        app = await app_of(p)
        await app.run(told, partition="p1")

        (ctx,) = seen
        record = await newest_run(app)
        (step,) = (await steps(app, record.run_id)).values()
        assert (ctx.asset, ctx.partition, ctx.attempt) == ("p.told", "p1", 1)
        assert (ctx.run_id, ctx.materialization_id) == (record.run_id, step.id)
        assert not ctx.is_cancelled()
