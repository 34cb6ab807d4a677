"""Workers keep the application's policy, and what is planned and read does not notice."""

import asyncio

import pytest

from flowstone import Dep, FlowStone, Pipeline, Retention, RunFailedError
from flowstone.core import pruning
from flowstone.core.errors import JobNotFoundError, NotStoredError, RunNotFoundError
from tests.application.stage import Heard, Stage, drain, eventually, newest_run, working

MONTH = Retention("30d", failed="90d", values="7d")


def pipeline() -> Pipeline:
    p = Pipeline("p")
    broken = [True]

    @p.asset
    async def base() -> int:
        return 1

    @p.asset
    async def middle(base: int = Dep(base)) -> int:
        return base + 1

    @p.asset
    async def report(middle: int = Dep(middle)) -> int:
        return middle + 1

    @p.asset
    async def breaks_once(middle: int = Dep(middle)) -> int:
        if broken:
            broken.clear()
            raise ValueError("once")
        return middle

    return p


greetings = Pipeline("greetings")


@greetings.job
async def greet(name: str) -> str:
    return f"Hello, {name}"


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "FIRST_SECONDS", 0.0)
    monkeypatch.setattr(pruning, "EVERY_SECONDS", 0.01)


async def runs_of(app: FlowStone) -> list[int]:
    return [run.run_id for run in await app.store.runs(limit=100)]


@pytest.mark.usefixtures("at_once")
class TestWorkers:
    async def test_prune_by_the_policy_while_they_work(self, stage: Stage) -> None:
        app = await stage.app(pipeline(), greetings, retention=MONTH)
        heard = Heard(app, ["prune"])
        for _ in range(3):
            await app.run("report", force=True)
        jobs = await app.enqueue_many([greet.with_(name="Ada")] * 4)
        await drain(app)
        await stage.advance("31d")
        young = await app.enqueue("report", force=True)

        async with working(app):
            await eventually(lambda: heard.of("prune"))
            assert await young.result() == 3

        ((measurements, _),) = heard.of("prune")
        assert measurements == {
            "runs": 3,
            "materializations": 2,
            "values": 2,
            "jobs": 4,
            "items": 0,
        }
        assert await runs_of(app) == [young.run_id]
        with pytest.raises(JobNotFoundError, match="pruned"):
            await jobs[0].result()

    async def test_prune_only_one_of_them_at_a_time(
        self, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        at_once, most, passes = 0, 0, 0
        real = pruning.prune

        async def watched(*given: object) -> object:
            nonlocal at_once, most, passes
            at_once, passes = at_once + 1, passes + 1
            most = max(most, at_once)
            await asyncio.sleep(0)
            try:
                return await real(*given)  # type: ignore[arg-type]
            finally:
                at_once -= 1

        monkeypatch.setattr(pruning, "prune", watched)
        apps = [await stage.app(pipeline(), retention=MONTH) for _ in range(3)]

        async with working(apps[0]), working(apps[1]), working(apps[2]):
            await eventually(lambda: passes > 5)

        assert most == 1

    async def test_prune_nothing_where_everything_is_to_be_kept(self, stage: Stage) -> None:
        app = await stage.app(pipeline(), retention=None)
        await app.run("report")
        await stage.advance("1000d")

        async with working(app):
            await (await app.enqueue("base", force=True)).result()

        assert len(await runs_of(app)) == 2
        assert "pruning" not in app.registries.services


class TestAfterPruning:
    async def test_what_is_fresh_stays_fresh(self, stage: Stage) -> None:
        app = await stage.app(pipeline())
        await app.run("report")
        planned = [(it.key, it.action) for it in await app.plan("report")]
        await stage.advance("1000d")

        await pruning.prune(app.store, MONTH)

        assert await runs_of(app) == []
        assert [(it.key, it.action) for it in await app.plan("report")] == planned
        assert {action for _, action in planned} == {"reuse"}
        assert await app.run("report") == await app.get("report") == 3

    async def test_a_newer_upstream_is_seen_although_the_older_is_gone(self, stage: Stage) -> None:
        app = await stage.app(pipeline())
        await app.run("report")
        await app.run("base", force=True)
        await stage.advance("1000d")

        await pruning.prune(app.store, MONTH)

        reasons = {it.key.asset: it.reason for it in await app.plan("report")}
        assert reasons["p.middle"] == "upstream p.base is newer"
        assert await app.invalidate("base") == 1
        assert await app.run("report") == 3

    async def test_a_failed_run_can_be_repeated(self, stage: Stage) -> None:
        app = await stage.app(pipeline())
        await app.run("middle")
        with pytest.raises(RunFailedError) as caught:
            await app.run("breaks_once")
        await app.run("middle", force=True)
        await stage.advance("60d")
        await pruning.prune(app.store, MONTH)

        handle = await app.retry(caught.value.run_id)
        await drain(app)

        assert await handle.result() == 2

    async def test_a_value_that_went_before_its_run_is_said_to_be_gone(self, stage: Stage) -> None:
        app = await stage.app(pipeline())
        handle = await app.enqueue("base")
        await drain(app)
        await app.run("base", force=True)
        await stage.advance("8d")
        await pruning.prune(app.store, MONTH)

        assert (await handle.status()).status == "succeeded"
        with pytest.raises(NotStoredError, match="retention"):
            await handle.result()
        assert await app.get("base") == 1

    async def test_a_run_that_is_gone_is_said_to_be(self, stage: Stage) -> None:
        app = await stage.app(pipeline())
        await app.run("base")
        run_id = (await newest_run(app)).run_id
        await stage.advance("31d")
        await pruning.prune(app.store, MONTH)

        with pytest.raises(RunNotFoundError, match="pruned"):
            await app.retry(run_id)

    async def test_what_a_run_takes_without_its_upstreams_waits_for_it(self, stage: Stage) -> None:
        app = await stage.app(pipeline())
        await app.run("middle")
        taken = await app.store.current(app._stored.keys("middle", None))
        handle = await app.enqueue("report", with_deps=False, queue="slow")
        for _ in range(3):
            await stage.advance("100d")
            await app.run("middle", force=True)
            await pruning.prune(app.store, MONTH)

        await drain(app, slow=1)

        assert await handle.result() == 3
        (reused,) = await app.store.reused(handle.run_id)
        assert reused.materialization_id in {it.materialization_id for it in taken[0].values()}
