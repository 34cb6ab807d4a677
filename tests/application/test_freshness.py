"""What a plan says, a run does: what is computed, what is reused, and for which reason."""

import re
from collections.abc import Mapping
from typing import Any

import pytest

from flowstone import Config, Dep, FlowStone, Pipeline, Skip
from flowstone.core.defaults.memory_io import MemoryIO
from flowstone.core.errors import (
    DependencyNotReadyError,
    InvalidPartitionError,
    NotStoredError,
)
from flowstone.core.planner import Action
from tests.application.conftest import AppOf, on_postgres
from tests.application.stage import Stage, drain, newest_run

Lines = Mapping[str, tuple[str, str]]
FRESH = ("reuse", "materialized 0s ago, code unchanged")


class TopN(Config):
    top_n: int = 10


def chain(*, version: str = "1", name: str = "middle", **options: Any) -> Pipeline:
    """first → middle → last; the middle one takes options and a configuration."""
    p = Pipeline("p")

    @p.asset(version="1")
    async def first() -> int:
        return 1

    @p.asset(name=name, version=version, **options)
    async def middle(config: TopN, first: int = Dep(first)) -> int:
        return first + config.top_n

    @p.asset(version="1")
    async def last(middle: int = Dep(middle)) -> int:
        return middle + 1

    return p


async def planned(app: FlowStone, target: Any, **given: Any) -> Lines:
    return {
        it.key.asset.removeprefix("p."): (it.action.value, _settled(it.reason))
        for it in await app.plan(target, **given)
    }


async def done(app: FlowStone, target: Any, **given: Any) -> Lines:
    """Run the target and return what the run's rows say about what it did."""
    await app.run(target, **given)
    record = await newest_run(app)
    ran = await app.store.materializations(record.run_id)
    reused = await app.store.reused(record.run_id)
    lines = [(it.key.asset, "run", it.reason) for it in ran]
    lines += [(it.key.asset, "reuse", it.reason) for it in reused]
    return {name.removeprefix("p."): (action, _settled(reason)) for name, action, reason in lines}


async def planned_and_done(app: FlowStone, target: Any, **given: Any) -> Lines:
    plan = await planned(app, target, **given)
    assert await done(app, target, **given) == plan
    return plan


def _settled(reason: str) -> str:
    return re.sub(r"\d+s ago", "0s ago", reason)


class TestReasons:
    async def test_never_materialized(self, app_of: AppOf) -> None:
        app = await app_of(chain())

        assert await planned_and_done(app, "last") == {
            "first": ("run", "never materialized"),
            "middle": ("run", "never materialized"),
            "last": ("run", "never materialized"),
        }

    @pytest.mark.conformance(147)
    async def test_fresh(self, app_of: AppOf) -> None:
        app = await app_of(chain())
        await app.run("last")

        assert await planned_and_done(app, "last") == {
            "first": FRESH,
            "middle": FRESH,
            "last": FRESH,
        }

    async def test_another_partition_is_another_value(self, app_of: AppOf) -> None:
        app = await app_of(chain())
        await app.run("first", partition="a")

        assert await planned(app, "first", partition="a") == {"first": FRESH}
        assert await planned(app, "first", partition="b") == {
            "first": ("run", "never materialized")
        }

    async def test_only_the_target_is_forced(self, app_of: AppOf) -> None:
        app = await app_of(chain())
        await app.run("last")

        assert await planned_and_done(app, "middle", force=True) == {
            "first": FRESH,
            "middle": ("run", "forced"),
        }

    async def test_an_upstream_runs(self, app_of: AppOf) -> None:
        app = await app_of(chain())
        await app.run("first")
        await app.run("last")

        assert await planned_and_done(app, ["middle", "last"], force=True) == {
            "first": FRESH,
            "middle": ("run", "forced"),
            "last": ("run", "upstream p.middle runs"),
        }

    async def test_an_upstream_is_newer(self, app_of: AppOf) -> None:
        app = await app_of(chain())
        await app.run("last")
        await app.run("first", force=True)

        assert await planned_and_done(app, "last") == {
            "first": FRESH,
            "middle": ("run", "upstream p.first is newer"),
            "last": ("run", "upstream p.middle runs"),
        }
        assert await planned(app, "last") == {"first": FRESH, "middle": FRESH, "last": FRESH}

    async def test_invalidated(self, app_of: AppOf) -> None:
        app = await app_of(chain())
        await app.run("last")
        await app.invalidate("middle", downstream=False)

        assert await planned_and_done(app, "last") == {
            "first": FRESH,
            "middle": ("run", "invalidated"),
            "last": ("run", "upstream p.middle runs"),
        }

    async def test_the_code_changed(self, app_of: AppOf) -> None:
        await (await app_of(chain(version="1"))).run("last")
        app = await app_of(chain(version="2"))

        assert await planned_and_done(app, "last") == {
            "first": FRESH,
            "middle": ("run", "code changed"),
            "last": ("run", "upstream p.middle runs"),
        }
        assert (await app.status("middle")).version == "2"

    async def test_the_same_version_of_other_code_is_the_same(self, app_of: AppOf) -> None:
        def pipeline(value: int) -> Pipeline:
            p = Pipeline("p")
            p.asset(name="given", version="1")(lambda: value)
            return p

        assert await (await app_of(pipeline(1))).run("given") == 1
        assert await (await app_of(pipeline(2))).run("given") == 1

    async def test_without_a_version_the_body_is_the_version(self, app_of: AppOf) -> None:
        one, same, other = Pipeline("p"), Pipeline("p"), Pipeline("p")
        one.asset(name="it")(lambda: 1)
        same.asset(name="it")(lambda: 1)
        other.asset(name="it")(lambda: 2)
        await (await app_of(one)).run("it")

        assert await planned(await app_of(same), "it") == {"it": FRESH}
        assert await planned_and_done(await app_of(other), "it") == {"it": ("run", "code changed")}

    async def test_the_configuration_changed(self, app_of: AppOf) -> None:
        app = await app_of(chain())
        await app.run("middle", config={"top_n": 3})

        assert await planned(app, "middle", config={"top_n": 3}) == {
            "first": FRESH,
            "middle": FRESH,
        }
        assert await planned_and_done(app, "middle", config=TopN(top_n=4)) == {
            "first": FRESH,
            "middle": ("run", "configuration changed"),
        }
        assert await app.get("middle") == 5

    async def test_the_configuration_is_no_longer_given(self, app_of: AppOf) -> None:
        app = await app_of(chain())
        await app.run("middle", config={"top_n": 3})

        assert await planned_and_done(app, "last") == {
            "first": FRESH,
            "middle": ("run", "configuration changed"),
            "last": ("run", "never materialized"),
        }

    async def test_the_value_is_wanted_elsewhere(self, app_of: AppOf) -> None:
        app = await app_of(chain(), io={"lake": MemoryIO(), "pond": MemoryIO()})
        await app.run("first")

        assert await planned_and_done(app, "first", io="lake") == {
            "first": ("run", "kept in the store, wanted in lake")
        }
        assert await planned(app, "first", io="lake") == {"first": FRESH}
        assert await planned_and_done(app, "first", io="pond") == {
            "first": ("run", "kept in lake, wanted in pond")
        }
        assert await planned_and_done(app, "first") == {
            "first": ("run", "kept in pond, wanted in the store")
        }

    @on_postgres  # an age is told by the real clock
    async def test_the_age_is_told(self, app_of: AppOf, stage: Stage) -> None:
        app = await app_of(chain())
        await app.run("first")
        ages = []

        for passed in ("130s", "2h", "3d"):
            await stage.advance(passed)
            ages.append((await app.plan("first"))[0].reason)

        assert ages == [f"materialized {age} ago, code unchanged" for age in ("2m", "2h", "3d")]


class TestWhatIsWithoutAValue:
    async def test_what_was_skipped_is_asked_again_and_so_is_what_follows(
        self, app_of: AppOf
    ) -> None:
        p = Pipeline("p")

        @p.asset
        async def first() -> int | Skip:
            return Skip("nothing yet")

        @p.asset
        async def last(first: int | None = Dep(first, optional=True)) -> int:
            return first or 0

        app = await app_of(p)
        await app.run(last)

        assert await planned_and_done(app, last) == {
            "first": ("run", "never materialized"),
            "last": ("run", "upstream p.first runs"),
        }

    async def test_what_only_comes_first_counts_for_freshness(self, app_of: AppOf) -> None:
        p = Pipeline("p")
        first = p.asset(name="first")(lambda: None)
        p.asset(name="last", after=[first])(lambda: None)
        app = await app_of(p)
        await app.run("last")
        assert await planned(app, "last") == {"first": FRESH, "last": FRESH}

        await app.run("first", force=True)

        assert await planned_and_done(app, "last") == {
            "first": FRESH,
            "last": ("run", "upstream p.first is newer"),
        }


class TestPlanning:
    async def test_a_plan_writes_nothing(self, app_of: AppOf) -> None:
        app = await app_of(chain())

        decisions = await app.plan("last", force=True, config=None, partition="x")

        assert [it.action for it in decisions] == [Action.RUN] * 3
        assert await app.store.runs() == []

    async def test_a_plan_says_what_is_stored_now(self, app_of: AppOf) -> None:
        app = await app_of(chain(), io={"lake": MemoryIO()})
        await app.run("first", io="lake")

        first, middle = await app.plan("middle")

        assert first.current is not None
        assert first.current.io == "lake"
        assert middle.current is None

    async def test_a_plan_refuses_what_a_run_refuses(self, app_of: AppOf) -> None:
        app = await app_of(chain())

        with pytest.raises(DependencyNotReadyError):
            await app.plan("last", with_deps=False)
        with pytest.raises(InvalidPartitionError):
            await app.plan("last", partition=object())

    async def test_without_upstreams_these_are_taken_as_they_are(self, app_of: AppOf) -> None:
        app = await app_of(chain())
        await app.run("middle")
        await app.run("first", force=True)

        assert await planned_and_done(app, "last", with_deps=False) == {
            "middle": ("reuse", "taken as it is"),
            "last": ("run", "never materialized"),
        }
        assert await planned_and_done(app, "middle", with_deps=False) == {
            "first": ("reuse", "taken as it is"),
            "middle": ("run", "upstream p.first is newer"),
        }

    async def test_a_run_of_what_is_fresh_has_succeeded_at_once(self, app_of: AppOf) -> None:
        app = await app_of(chain())
        await app.run("last")

        handle = await app.enqueue("last")

        record = await handle.status()
        assert (record.status, dict(record.counts), record.reused_count) == ("succeeded", {}, 3)
        assert await handle.result() == 12


class TestAliases:
    async def test_a_renamed_asset_keeps_its_value(self, app_of: AppOf) -> None:
        await (await app_of(chain(name="former"))).run("former")
        app = await app_of(chain(aliases=["former"]))

        assert await app.exists("middle")
        assert await app.get("middle") == 11
        assert (await app.status("middle")).state == "stored"
        assert await planned(app, "last") == {
            "first": FRESH,
            "middle": FRESH,
            "last": ("run", "never materialized"),
        }
        assert await app.run("last") == 12

    async def test_a_renamed_upstream_is_found_without_being_run(self, app_of: AppOf) -> None:
        await (await app_of(chain(name="former"))).run("former")
        app = await app_of(chain(aliases=["former"]))

        assert await app.run("last", with_deps=False) == 12

    async def test_the_former_value_can_be_invalidated(self, app_of: AppOf) -> None:
        await (await app_of(chain(name="former"))).run("former")
        app = await app_of(chain(aliases=["former"]))

        assert await app.invalidate("middle") == 1

        with pytest.raises(NotStoredError):
            await app.get("middle")
        assert (await planned_and_done(app, "middle"))["middle"] == ("run", "invalidated")
        assert await app.get("middle") == 11

    async def test_a_new_value_takes_the_place_of_the_former_one(self, app_of: AppOf) -> None:
        await (await app_of(chain(name="former"))).run("former")
        app = await app_of(chain(aliases=["former"]))

        await app.run("middle", config={"top_n": 1})

        assert await app.get("middle") == 2
        assert (await app.plan("middle", config={"top_n": 1}))[1].action is Action.REUSE

    async def test_a_run_of_the_former_name_keeps_its_configuration(self, app_of: AppOf) -> None:
        handle = await (await app_of(chain(name="former"))).enqueue("former", config={"top_n": 3})
        app = await app_of(chain(aliases=["former"]))

        await drain(app)

        assert await app.handle(handle.run_id).result() == 4

    async def test_a_run_of_the_former_name_can_be_repeated(self, app_of: AppOf) -> None:
        handle = await (await app_of(chain(name="former"))).enqueue("former", config={"top_n": 3})
        await handle.cancel()
        app = await app_of(chain(aliases=["former"]))

        again = await app.retry(handle.run_id)
        await drain(app)

        assert await again.result() == 4

    async def test_a_history_goes_on_under_the_new_name(self, app_of: AppOf) -> None:
        await (await app_of(chain(name="former"))).run("former")
        app = await app_of(chain(aliases=["former"]))

        latest = (await app.status("middle")).latest

        assert latest is not None
        assert latest.status == "succeeded"


class TestRepeating:
    async def test_a_repeat_reuses_and_force_computes_anew(self, app_of: AppOf) -> None:
        p, calls = Pipeline("p"), []

        @p.asset
        async def counter() -> int:
            calls.append(1)
            return len(calls)

        app = await app_of(p)

        assert await app.run(counter) == 1
        assert await app.run(counter) == 1
        assert await app.run(counter, force=True) == 2
        assert await app.run(counter) == 2
