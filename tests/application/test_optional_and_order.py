"""Edges that may stay empty, and edges that only say what comes first."""

import pytest

from flowstone import Cancel, Context, Dep, Pipeline, RunFailedError, Skip
from flowstone.core.errors import RunCancelledError
from tests.application.conftest import AppOf
from tests.application.stage import drain, newest_run, statuses


def with_optional(upstream_ends: str) -> Pipeline:
    p = Pipeline("p")

    @p.asset
    async def extra() -> int | Skip | Cancel:
        match upstream_ends:
            case "failed":
                raise ValueError("no extra")
            case "skipped":
                return Skip("none today")
            case "cancelled":
                return Cancel("not wanted")
        return 7

    @p.asset
    async def base() -> int:
        return 1

    @p.asset
    async def report(base: int = Dep(base), extra: int | None = Dep(extra, optional=True)) -> str:
        return f"{base} and {extra}"

    return p


class TestOptional:
    @pytest.mark.conformance(99, 126)
    @pytest.mark.parametrize("ends", ["failed", "skipped", "cancelled"])
    async def test_an_upstream_that_ends_without_a_value_gives_none(
        self, app_of: AppOf, ends: str
    ) -> None:
        app = await app_of(with_optional(ends))
        handle = await app.enqueue("report")

        await drain(app)

        assert await app.get("report") == "1 and None"
        assert await statuses(app, handle.run_id) == {
            "extra": ends,
            "base": "succeeded",
            "report": "succeeded",
        }

    async def test_an_upstream_with_a_value_gives_it(self, app_of: AppOf) -> None:
        app = await app_of(with_optional("succeeded"))

        assert await app.run("report") == "1 and 7"

    @pytest.mark.parametrize("ends", ["failed", "cancelled"])
    async def test_the_run_tells_of_it_and_its_result_does_not(
        self, app_of: AppOf, ends: str
    ) -> None:
        app = await app_of(with_optional(ends))

        assert await app.run("report") == "1 and None"

        assert (await newest_run(app)).status.value == ends

    async def test_it_is_no_excuse_when_it_is_a_target_itself(self, app_of: AppOf) -> None:
        app = await app_of(with_optional("failed"))

        with pytest.raises(RunFailedError, match="no extra"):
            await app.run(["report", "extra"])

    async def test_what_was_never_run_is_none_without_upstreams(self, app_of: AppOf) -> None:
        app = await app_of(with_optional("succeeded"))
        await app.run("base")

        assert await app.run("report", with_deps=False) == "1 and None"

    async def test_lineage_has_only_what_was_loaded(self, app_of: AppOf) -> None:
        app = await app_of(with_optional("skipped"))
        await app.run("report")
        latest = (await app.status("report")).latest
        assert latest is not None

        upstream, _ = await app.store.lineage(latest.key)

        assert [key.asset for key in upstream] == ["p.base"]

    async def test_what_fails_behind_an_optional_edge_goes_no_further(self, app_of: AppOf) -> None:
        p = Pipeline("p")

        @p.asset
        async def first() -> int:
            raise ValueError("no")

        @p.asset
        async def second(first: int = Dep(first)) -> int:
            return first

        @p.asset
        async def third(second: int | None = Dep(second, optional=True)) -> str:
            return f"got {second}"

        @p.asset
        async def fourth(third: str = Dep(third)) -> str:
            return third.upper()

        app = await app_of(p)
        handle = await app.enqueue(fourth)
        await drain(app)

        assert await app.get(fourth) == "GOT NONE"
        assert await statuses(app, handle.run_id) == {
            "first": "failed",
            "second": "upstream_failed",
            "third": "succeeded",
            "fourth": "succeeded",
        }

    async def test_two_edges_to_one_upstream_may_differ(self, app_of: AppOf) -> None:
        p = Pipeline("p")

        @p.asset
        async def extra() -> int | Skip:
            return Skip()

        @p.asset
        async def needs(extra: int = Dep(extra)) -> int:
            return extra

        @p.asset
        async def either(
            extra: int | None = Dep(extra, optional=True),
            needs: int | None = Dep(needs, optional=True),
        ) -> str:
            return f"{extra} {needs}"

        app = await app_of(p)

        assert await app.run(either) == "None None"


class TestOrder:
    async def test_what_comes_first_is_computed_first_and_not_loaded(self, app_of: AppOf) -> None:
        p, order = Pipeline("p"), []

        @p.asset
        def first() -> int:
            order.append("first")
            return 1

        @p.asset
        async def second(ctx: Context) -> None:
            order.append("second")

        @p.asset(after=[second, first])
        def last() -> str:
            order.append("last")
            return "no arguments"

        app = await app_of(p)

        assert await app.run(last) == "no arguments"
        assert order[-1] == "last"
        assert sorted(order) == ["first", "last", "second"]

    async def test_order_alone_makes_no_lineage(self, app_of: AppOf) -> None:
        p = Pipeline("p")
        first = p.asset(name="first")(lambda: 1)
        p.asset(name="last", after=[first])(lambda: 2)
        app = await app_of(p)
        await app.run("last")
        latest = (await app.status("last")).latest
        assert latest is not None

        assert await app.store.lineage(latest.key) == ([], [])

    async def test_nothing_comes_after_a_failure(self, app_of: AppOf) -> None:
        p, computed = Pipeline("p"), []

        @p.asset
        async def first() -> None:
            raise ValueError("no")

        @p.asset(after=["first"])
        async def last() -> None:
            computed.append("last")

        app = await app_of(p)
        with pytest.raises(RunFailedError) as caught:
            await app.run(last)

        assert computed == []
        assert (await statuses(app, caught.value.run_id))["last"] == "upstream_failed"

    @pytest.mark.parametrize("outcome", [Skip("none"), Cancel("enough")])
    async def test_what_comes_after_shares_the_outcome(
        self, app_of: AppOf, outcome: Skip | Cancel
    ) -> None:
        p = Pipeline("p")
        first = p.asset(name="first")(lambda: outcome)
        p.asset(name="last", after=[first])(lambda: None)
        app = await app_of(p)

        if isinstance(outcome, Skip):
            assert await app.run("last") is None
        else:
            with pytest.raises(RunCancelledError):
                await app.run("last")

        ended = "skipped" if isinstance(outcome, Skip) else "cancelled"
        record = await newest_run(app)
        assert await statuses(app, record.run_id) == {"first": ended, "last": ended}

    async def test_without_upstreams_order_is_not_asked_for(self, app_of: AppOf) -> None:
        p = Pipeline("p")
        first = p.asset(name="first")(lambda: None)
        p.asset(name="last", after=[first])(lambda: "done")
        app = await app_of(p)

        assert await app.run("last", with_deps=False) == "done"
