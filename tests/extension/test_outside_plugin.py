"""A plugin packaged outside the tree does all that ours do, with nothing but the public surface."""

import ast
import json
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.application.stage import eventually
from tests.extension.conftest import PACKAGE, ROOT, Ended, Outside

VISITS = """
import sys

from flowstone import Dep, FlowStone, Pipeline
from flowstone_tally import tally

visits = Pipeline("visits")


@visits.asset(io=("notes", {"root": "notes"}))
@tally("visitors", at_least=3)
async def enough(counted: int) -> list[str]:
    return [f"visitor {n + 1}" for n in range(counted)]


@visits.asset
async def greeting(enough: list[str] = Dep(enough)) -> str:
    return "hello " + ", ".join(enough)


def reached(event, measurements, metadata):
    print(event, measurements["count"], metadata["name"], file=sys.stderr, flush=True)


app = FlowStone(visits, plugins=["tally"])
app.telemetry.attach(reached, ["tally.reached"])
"""
IN_MEMORY = """
import asyncio, json
from flowstone_tally.counts import Counts
from visits import app, greeting

async def main():
    async with app:
        worker = app.worker()
        working = asyncio.create_task(worker.run())
        handle = await app.enqueue(greeting)
        async for event in app.subscribe(run=handle.run_id):
            if event.status == "waiting":
                app.resources.get(Counts)["visitors"] += 3
        value = await handle.result(60)
        report = await app.health()
        worker.stop()
        await working
    (plugin,) = app.plugins
    print(json.dumps({
        "value": value, "ok": report.ok, "findings": [it.check for it in report.findings],
        "plugin": [plugin.name, plugin.version, plugin.contract_version, plugin.registered],
    }))

asyncio.run(main())
"""
GREETING = "hello visitor 1, visitor 2, visitor 3"
Flowstone = Callable[..., Ended]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "visits.py").write_text(VISITS)
    (tmp_path / "pyproject.toml").write_text('[tool.flowstone]\napp = "visits:app"\n')
    return tmp_path


@pytest.fixture
def durable(flowstone: Flowstone, bare_dsn: str, project: Path) -> Flowstone:
    """Commands on a database that is migrated."""

    def on_database(*arguments: object) -> Ended:
        return flowstone(*arguments, FLOWSTONE_DSN=bare_dsn)

    assert on_database("db", "migrate").returncode == 0
    return on_database


def document(ended: Ended) -> Any:
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


class TestInMemory:
    def test_all_that_it_brings_works_together(self, outside: Outside, project: Path) -> None:
        told = document(outside.run("-c", IN_MEMORY, cwd=project))

        assert (told["value"], told["ok"]) == (GREETING, True)
        assert {"resource Counts", "service tally", "plugin tally"} <= set(told["findings"])
        assert told["plugin"] == [
            "tally",
            "1.2.0",
            "1.0.0",
            {
                "IO managers": ["notes"],
                "resources": ["Counts"],
                "services": ["tally"],
                "tables": ["tally"],
                "events": ["tally.reached"],
            },
        ]
        assert [it.suffix for it in (project / "notes").iterdir()] == [".json"]


class TestOnPostgres:
    def test_its_tables_are_required_migrated_and_shown(
        self, flowstone: Flowstone, dsn: str, project: Path
    ) -> None:
        def on_database(*arguments: object) -> Ended:
            return flowstone(*arguments, FLOWSTONE_DSN=dsn)

        refused = on_database("enqueue", "greeting")
        before = on_database("db", "status", "-o", "json")
        migrated = on_database("db", "migrate")
        after = document(on_database("db", "status", "-o", "json"))

        assert refused.returncode == 3
        assert "lacks the tables of plugin 'tally'; run: flowstone db migrate" in refused.stderr
        assert (before.returncode, json.loads(before.stdout)["plugins"]) == (
            3,
            [{"plugin": "tally", "state": "absent", "revision": None, "needed": "0001_counts"}],
        )
        assert migrated.stdout == "applied tally: 0001_counts\n"
        assert [it["state"] for it in after["plugins"]] == ["up_to_date"]
        assert on_database("enqueue", "greeting").returncode == 0

    async def test_all_that_it_brings_works_together_in_processes(
        self, durable: Flowstone, outside: Outside, bare_dsn: str, project: Path
    ) -> None:
        enqueued = document(durable("enqueue", "greeting", "-o", "json"))
        run_id = enqueued["run_id"]
        with worker(outside, project, bare_dsn) as log, psycopg.connect(bare_dsn) as connection:
            connection.autocommit = True

            def status(asset: str) -> str:
                row = connection.execute(
                    "SELECT status::text FROM flowstone.materializations WHERE asset = %s", [asset]
                ).fetchone()
                return row[0] if row else ""

            await eventually(lambda: status("visits.enough") == "waiting")
            counted = [
                document(durable("tally", "visitors", "--add", n, "-o", "json")) for n in (2, 1)
            ]
            await eventually(lambda: status("visits.greeting") == "succeeded")
            checks = {it["check"]: it for it in document(durable("doctor", "-o", "json"))["items"]}

        assert [it["count"] for it in counted] == [2, 3]
        assert document(durable("asset", "value", "greeting", "-o", "json"))["value"] == GREETING
        assert len(list((project / "notes").iterdir())) == 1
        assert document(durable("runs", "show", run_id, "-o", "json"))["status"] == "succeeded"
        assert "flowstone.tally.reached 3 visitors" in log.read_text()
        assert (checks["plugin tally"]["level"], checks["tables tally"]["level"]) == ("ok", "ok")


class TestCommand:
    def test_help_lists_it_and_imports_nothing_of_it(
        self, outside: Outside, tmp_path: Path
    ) -> None:
        ended = outside.run("-v", "-m", "flowstone", "--help", cwd=tmp_path)

        lines = [it.split() for it in ended.stdout.splitlines()]
        assert ["tally", *"Count things, and wait until there are enough.".split()] in lines
        assert "import 'flowstone." in ended.stderr
        assert "flowstone_tally" not in re.sub(r"(?m)^#.*$", "", ended.stderr)

    def test_its_own_help_has_the_global_options(
        self, flowstone: Flowstone, tmp_path: Path
    ) -> None:
        ended = flowstone("tally", "--help")

        assert "Say how many there are, after adding some." in ended.stdout
        assert "--dsn" in ended.stdout


class TestPublicSurface:
    def test_it_passes_the_public_suites_in_its_own_environment(self, outside: Outside) -> None:
        ended = outside.run("-P", "-m", "pytest", "-q", "tests", cwd=outside.source)

        assert ended.returncode == 0, ended.stdout + ended.stderr
        assert re.search(r"\b[2-9]\d passed", ended.stdout)

    def test_it_imports_only_what_the_documentation_calls_public(self) -> None:
        page = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
        public = set(re.findall(r"^\| `(flowstone[\w.]*)`", page, flags=re.MULTILINE))

        used = {name for file in PACKAGE.rglob("*.py") for name in _flowstone_imports(file)}

        assert used - public == set()
        assert len(used) > 10

    def test_the_documentation_shows_this_package(self) -> None:
        page = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
        shown = re.findall(r"```(?:python|toml)\n# (\S+)\n\n(.*?)```", page, flags=re.DOTALL)

        differing = [
            name for name, text in shown if text.strip() not in (PACKAGE / name).read_text("utf-8")
        ]

        assert (len(shown) > 4, differing) == (True, [])


class TestBrokenNeighbours:
    """A package that is broken harms those who ask for it, and nobody else."""

    @pytest.fixture
    def torn(self, outside: Outside) -> Iterator[None]:
        info = outside.packages / "torn-0.3.dist-info"
        info.mkdir()
        module = outside.packages / "torn_plugin.py"
        module.write_text("import no_such_module\n")
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: torn\nVersion: 0.3\n")
        (info / "entry_points.txt").write_text(
            "[flowstone.plugins]\ntorn = torn_plugin:plugin\n"
            "[flowstone.commands]\ntorn = torn_plugin:command\n"
        )
        yield
        module.unlink()
        for file in info.iterdir():
            file.unlink()
        info.rmdir()

    @pytest.mark.usefixtures("torn")
    def test_it_is_named_and_the_others_go_on(self, flowstone: Flowstone, project: Path) -> None:
        (project / "with_torn.py").write_text(
            "from flowstone import FlowStone\napp = FlowStone([], plugins=['torn'])\n"
        )

        asked = flowstone("check", "--app", "with_torn:app")
        command = flowstone("torn")

        assert asked.returncode == 3
        assert "plugin 'torn' of torn 0.3 cannot be imported (torn_plugin:plugin)" in asked.stderr
        assert "no_such_module" in asked.stderr
        assert command.returncode == 3
        assert "command 'torn' cannot be imported (torn_plugin:command)" in command.stderr
        assert flowstone("--help").returncode == 0
        assert flowstone("tally", "--help").returncode == 0
        assert flowstone("check").returncode == 0


@contextmanager
def worker(outside: Outside, project: Path, dsn: str) -> Iterator[Path]:
    """Let a worker run meanwhile; gives the file of what it says."""
    log = project / "worker.log"
    environment: Mapping[str, str] = {"PATH": "/usr/bin:/bin", "FLOWSTONE_DSN": dsn}
    with log.open("w") as said:
        working = subprocess.Popen(
            [outside.python, "-m", "flowstone", "worker"], cwd=project, env=environment, stderr=said
        )
    try:
        yield log
    finally:
        working.terminate()
        assert working.wait(60) == 0, log.read_text()


def _flowstone_imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        names = [it.name for it in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        yield from (name for name in names if name.partition(".")[0] == "flowstone")
