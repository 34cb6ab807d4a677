"""How an application says what works and what does not."""

import asyncio
import re
from collections.abc import Mapping

import pytest

from flowstone import FlowStone, Pipeline
from flowstone.core import health
from flowstone.core.contracts.health import Finding, Level
from flowstone.core.contracts.host import Host
from flowstone.core.contracts.plugin import Plugin
from flowstone.core.contracts.registries import Registries
from flowstone.core.contracts.resource import Health, Resource
from flowstone.core.contracts.store import WorkerInfo
from tests.application.conftest import AppOf, in_memory, on_postgres
from tests.application.stage import PostgresStage, eventually, working


class Line(Resource[str]):
    def __init__(self, answer: Health | Exception | None = None) -> None:
        self.answer = answer

    async def setup(self, config: Mapping[str, object]) -> str:
        if config.get("broken"):
            raise ValueError("no such host")
        return "open"

    async def health_check(self, resource: str) -> Health:
        if self.answer is None:
            await asyncio.Event().wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        assert isinstance(self.answer, Health)
        return self.answer


class Checked(Plugin):
    name = "checked"

    def __init__(self, answer: Health | Exception) -> None:
        self.answer = answer

    def register(self, registries: Registries) -> None: ...

    async def health_check(self, app: Host) -> Health:
        await app.exists("one")
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def pipeline() -> Pipeline:
    p = Pipeline("p")

    @p.asset
    async def one() -> int:
        return 1

    return p


async def findings(app: FlowStone) -> Mapping[str, Finding]:
    return {it.check: it for it in (await app.health()).findings}


class TestReport:
    @pytest.mark.conformance(466)
    async def test_all_is_well(self, app_of: AppOf) -> None:
        app = await app_of(
            pipeline(), resources={str: Line(Health.healthy())}, plugins=[Checked(Health.healthy())]
        )
        async with working(app):
            await eventually(lambda: app.store.wakeups.topics)
            report = await app.health()

        assert (report.ok, [it.message for it in report.problems]) == (True, [])
        assert {"resource str", "plugin checked"} <= {it.check for it in report.findings}

    @pytest.mark.parametrize(
        ("resource", "reason"),
        [
            (Line(Health.unhealthy("line is dead")), "line is dead"),
            (Line(ValueError("cut")), "ValueError: cut"),
            (Line(), "no answer in 0.01 seconds"),
            ((Line(), {"broken": True}), "ValueError: no such host"),
        ],
        ids=["unhealthy", "raises", "silent", "not set up"],
    )
    async def test_a_resource_that_does_not_work_is_named(
        self, app_of: AppOf, monkeypatch: pytest.MonkeyPatch, resource: object, reason: str
    ) -> None:
        monkeypatch.setattr(health, "ANSWER_SECONDS", 0.01)
        app = await app_of(pipeline(), resources={str: resource, int: Line(Health.healthy())})

        report = await app.health()

        found = {it.check: it for it in report.findings}
        assert not report.ok
        assert (found["resource str"].level, found["resource str"].message) == (Level.FAIL, reason)
        assert found["resource int"].level is Level.OK

    async def test_a_plugin_says_how_it_is(self, app_of: AppOf) -> None:
        answers = {"unhealthy": Health.unhealthy("queue is full"), "raises": ValueError("torn")}
        messages = {}
        for name, answer in answers.items():
            app = await app_of(pipeline(), plugins=[Checked(answer)])
            messages[name] = (await findings(app))["plugin checked"].message

        assert messages == {"unhealthy": "queue is full", "raises": "ValueError: torn"}

    @in_memory
    async def test_in_memory_there_is_nothing_to_lose(self, app_of: AppOf) -> None:
        async with FlowStone(pipeline()) as app:
            await app.run("one")
            report = await app.health()

        assert [(it.check, it.message) for it in report.findings] == [
            ("store", "in memory; 0 workers, 1 runs")
        ]


@on_postgres
class TestOnPostgres:
    async def test_it_tells_of_the_database_the_tables_and_the_workers(self, app_of: AppOf) -> None:
        app = await app_of(pipeline())
        without = await findings(app)
        async with working(app):
            await eventually(lambda: app.store.wakeups.topics)
            found = await findings(app)

        assert (without["workers"].level, without["workers"].mend) == (
            Level.WARN,
            "flowstone worker",
        )
        assert [found[it].level for it in ("database", "server", "tables", "procrastinate")] == (
            [Level.OK] * 4
        )
        (worker,) = [it for check, it in found.items() if check.startswith("worker ")]
        assert "serves default" in worker.message
        assert re.search(r"beat \d+s ago", worker.message)
        assert found["listener"].message == "wake-ups arrive"

    async def test_a_dead_worker_is_named(self, app_of: AppOf, stage: PostgresStage) -> None:
        app = await app_of(pipeline())
        await app.store.register_worker(WorkerInfo("gone.example", 1, ["default"]))
        stage.admin.execute(
            "UPDATE flowstone_workers SET heartbeat_at = heartbeat_at - interval '1h'"
        )

        (worker,) = [it for name, it in (await findings(app)).items() if name.startswith("worker ")]

        assert (worker.level, "dead? gone.example:1" in worker.message) == (Level.WARN, True)

    async def test_no_listen_connection_is_a_warning(
        self, app_of: AppOf, stage: PostgresStage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        app = await app_of(pipeline())
        await app.store.listen()
        assert (await findings(app))["listener"].level is Level.OK

        monkeypatch.setattr("flowstone.engine.listener.asyncpg.connect", _refused)
        stage.admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%%' "
            "AND datname = current_database()"
        )

        async def is_noticed() -> bool:
            return (await findings(app))["listener"].level is Level.WARN

        await eventually(is_noticed)

    async def test_a_database_that_is_away_is_told_and_not_raised(
        self, app_of: AppOf, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        app = await app_of(pipeline(), resources={str: Line(Health.healthy())})
        monkeypatch.setattr(app.store, "dsn", "postgresql://127.0.0.1:1/none")

        report = await app.health()

        found = {it.check: it for it in report.findings}
        assert not report.ok
        assert found["database"].level is Level.FAIL
        assert found["resource str"].level is Level.OK

    async def test_a_database_that_never_answers_is_told_in_time(
        self, app_of: AppOf, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        app = await app_of(pipeline())
        monkeypatch.setattr("flowstone.engine.diagnosis.ANSWER_SECONDS", 0.05)
        connected: list[asyncio.StreamWriter] = []
        silent = await asyncio.start_server(lambda _, to: connected.append(to), "127.0.0.1", 0)
        port = silent.sockets[0].getsockname()[1]
        monkeypatch.setattr(app.store, "dsn", f"postgresql://127.0.0.1:{port}/silent")

        found = await findings(app)

        assert found["database"].level is Level.FAIL
        assert "has not answered in 0.05 seconds" in found["database"].message
        silent.close()
        await eventually(lambda: connected)
        for to in connected:
            to.close()
            await to.wait_closed()


async def _refused(*_: object, **__: object) -> None:
    raise ConnectionRefusedError("refused")
