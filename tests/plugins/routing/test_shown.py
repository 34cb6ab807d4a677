"""What was decided is shown: by the run, by the graph, by a public view."""

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from flowstone import FlowStone
from tests.architecture.sources import ROOT
from tests.cli.invocation import flowstone
from tests.plugins.routing.regions import Regions, regions

Show = Callable[..., Any]


@pytest.fixture
def show(dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Show:
    """Run a command on a database in which the region was looked for, by name."""

    async def run() -> None:
        async with FlowStone(regions(Regions("name")), dsn=dsn) as app:
            await app.run("region")

    asyncio.run(run())
    monkeypatch.chdir(tmp_path)
    shown = "tests.plugins.routing.shown:app"
    return lambda *arguments, app=shown: flowstone(*arguments, "--dsn", dsn, "--app", app)


def test_a_run_shows_what_was_selected_and_why(show: Show) -> None:
    lines = show("runs", "show", 1).stdout.splitlines()
    documents = show("runs", "show", 1, "-o", "json").document["materializations"]

    (router,) = [it for it in lines if it.startswith("sales.kind ")]
    assert router.endswith("name (is_name)")
    (branch,) = [it for it in lines if it.startswith("sales.by_mgrs ")]
    assert "skipped" in branch
    assert "not selected: sales.kind selected name (is_name)" in branch
    remarks = {it["asset"]: it["remark"] for it in documents}
    assert remarks == {
        "sales.query": None,
        "sales.kind": "name (is_name)",
        "sales.by_mgrs": None,
        "sales.by_name": None,
        "sales.region": None,
    }


def test_a_run_is_shown_without_an_application_that_works(show: Show) -> None:
    ended = show("runs", "show", 1, app="nowhere:app")

    assert "sales.kind" in ended.stdout
    assert "remark" not in ended.stdout
    assert "without what plugins have to say: --app nowhere:app: there is no module" in ended.stderr


def test_a_graph_has_the_branches_and_of_a_run_what_became_of_them(show: Show) -> None:
    assert show("asset", "graph").stdout.splitlines() == [
        "query",
        "├── by_mgrs",
        "│   └── region (optional)",
        "├── by_name",
        "│   └── region (optional)",
        "└── kind",
        "    ├── by_mgrs (mgrs) (see above)",
        "    └── by_name (name) (see above)",
    ]
    assert show("asset", "graph", "--run", 1).stdout.splitlines() == [
        "query: succeeded",
        "├── by_mgrs: skipped",
        "│   └── region: succeeded (optional)",
        "├── by_name: succeeded",
        "│   └── region: succeeded (optional)",
        "└── kind: succeeded name (is_name)",
        "    ├── by_mgrs: skipped (mgrs) (see above)",
        "    └── by_name: succeeded (name) (see above)",
    ]
    document = show("asset", "graph", "--run", 1, "-o", "json").document
    assert document["notes"]["sales.kind"] == "succeeded name (is_name)"


def test_a_graph_counts_where_a_run_has_several_partitions(show: Show, dsn: str) -> None:
    async def run() -> int:
        async with FlowStone(regions(Regions("name")), dsn=dsn) as app:
            await app.run("by_mgrs", partition="a")
            handle = await app.enqueue_many(["query", "by_mgrs"], over=["a", "b"])
            await app.finish(handle)
            return handle.run_id

    run_id = asyncio.run(run())

    assert show("asset", "graph", "--run", run_id).stdout.splitlines() == [
        "query: 1 succeeded, 1 reused",
        "├── by_mgrs: skipped",
        "└── kind: 1 succeeded, 1 reused",
        "    └── by_mgrs: skipped (mgrs)",
    ]


def test_a_plan_says_what_it_leaves_out_and_why(show: Show) -> None:
    lines = show("plan", "region").stdout.splitlines()

    assert lines[-1] == "0 to run, 4 reused, 1 skipped"
    (left_out,) = [it for it in lines if it.startswith("sales.by_mgrs ")]
    assert left_out.endswith("skip    not selected: sales.kind selected name (is_name)")


def test_a_graph_is_of_a_run_or_of_what_is_named(show: Show) -> None:
    assert show("asset", "graph", "region", "--run", 1).exit_code == 2
    assert "run 99 does not exist" in show("asset", "graph", "--run", 99).stderr


def test_a_view_has_every_decision(show: Show, dsn: str) -> None:
    assert show("runs", "ls").exit_code == 0
    with psycopg.connect(dsn) as connection:
        found = connection.execute("SELECT * FROM flowstone.router_decisions").fetchall()
        materialization = connection.execute(
            "SELECT materialization_id FROM flowstone.materializations WHERE asset = 'sales.kind'"
        ).fetchone()

    ((decision_id, *decided, at),) = found
    assert (decision_id,) == materialization
    assert decided == [1, "sales.kind", "", "name", ["mgrs", "name"], "choice", "is_name", None]
    assert at is not None


def test_the_page_describes_each_column_of_the_view(dsn: str) -> None:
    columns = """
        SELECT a.attname, format_type(a.atttypid, a.atttypmod) FROM pg_attribute a
        WHERE a.attrelid = 'flowstone.router_decisions'::regclass ORDER BY a.attnum
    """
    page = (ROOT / "docs/routing.md").read_text(encoding="utf-8")
    with psycopg.connect(dsn) as connection:
        found = connection.execute(columns).fetchall()

    rows = re.findall(r"^\| (\w+) \| ([\w\[\]]+) \|", page, re.MULTILINE)
    wanted = "timestamp with time zone"
    assert [(name, wanted if kind == "timestamptz" else kind) for name, kind in rows[1:]] == found
