"""``flowstone scatter`` shows scatters and changes them, and needs no application for it."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg
import pytest

from flowstone import FlowStone, Pipeline
from flowstone.plugins.scatter import scatter
from flowstone.plugins.scatter.coordinator import ScatterCoordinator
from flowstone.plugins.scatter.options import ScatterOptions
from flowstone.plugins.scatter.records import NewBarrier, NewItem
from tests.cli.invocation import Ended, flowstone
from tests.docs.code_blocks import blocks

pytestmark = pytest.mark.postgres

PAGE = "docs/scatter-operations.md"
COLUMNS = """
SELECT attname FROM pg_attribute WHERE attrelid = $1::text::regclass AND attnum > 0 ORDER BY attnum
"""
pipeline = Pipeline("shop")


@pipeline.asset
@scatter([1, 2, 3, 4])
async def charged(number: int) -> None: ...


@dataclass(frozen=True)
class Begun:
    """A scatter of four items of which one is done and two have failed; nobody works on it."""

    id: int
    run_id: int

    def command(self, name: str, *arguments: object) -> Ended:
        return flowstone("scatter", name, self.id, *arguments)

    def document(self, name: str, *arguments: object) -> dict[str, object]:
        found: dict[str, object] = self.command(name, *arguments, "-o", "json").document
        return found


@pytest.fixture
def begun(dsn: str, monkeypatch: pytest.MonkeyPatch) -> Begun:
    monkeypatch.setenv("FLOWSTONE_DSN", dsn)
    monkeypatch.delenv("FLOWSTONE_APP", raising=False)

    async def begin() -> Begun:
        async with FlowStone(pipeline, dsn=dsn) as app:
            handle = await app.enqueue(charged, partition="eu")
            [row] = await app.store.materializations(handle.run_id)
            coordinator = app.coordinator(ScatterCoordinator)
            options = ScatterOptions.of(failure_mode="partial", failure_threshold=0.5)
            await coordinator.create(
                NewBarrier(row.id, handle.run_id, "shop.charged", "eu", options)
            )
            items = [NewItem.of(str(number), number) for number in (1, 2, 3, 4)]
            await coordinator.insert(row.id, items, closes=True)
            await coordinator.complete(row.id, 1, "null")
            for number in (2, 3):
                error = {"type": "ValueError", "message": "no card"}
                await coordinator.fail(row.id, number, json.dumps(error))
            return Begun(row.id, handle.run_id)

    return asyncio.run(begin())


def lines(text: str) -> Sequence[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_scatters_are_listed_with_how_far_they_are(begun: Begun) -> None:
    [header, row] = lines(flowstone("scatter", "ls").stdout)
    assert header == ["id", "run", "asset", "status", "done", "failed", "pace", "left", "took"]
    assert row[:8] == [
        str(begun.id), str(begun.run_id), "shop.charged", "eu", "executing", "3/4", "75%", "2",
    ]  # fmt: skip
    assert flowstone("scatter", "ls", "--before", begun.id, "-o", "json").document["items"] == []
    [item] = flowstone("scatter", "ls", "--run", begun.run_id, "-o", "json").document["items"]
    assert (item["id"], item["pending"], item["expected_total"]) == (begun.id, 1, 4)


def test_one_is_shown_with_its_limits_and_what_failed_most(begun: Begun) -> None:
    shown = begun.command("show").stdout
    assert f"{begun.id} of shop.charged eu" in shown
    assert "3/4 75% items" in shown
    assert "2 (50%)" in shown
    assert "partial, 0.5 may fail" in shown
    assert "no card" in shown
    document = begun.document("show")
    assert (document["status"], document["failure_rate"]) == ("executing", 0.5)
    assert document["failures"] == begun.document("failures")["items"]


def test_equal_errors_are_listed_together(begun: Begun) -> None:
    assert lines(begun.command("failures").stdout) == [
        ["items", "error", "message", "first"],
        ["2", "ValueError", "no", "card", "1"],
    ]


def test_failed_items_go_again_while_it_runs(begun: Begun) -> None:
    assert begun.command("retry").stdout == f"2 items of scatter {begun.id} go again\n"
    document = begun.document("show")
    assert (document["failed"], document["pending"], document["retried"]) == (0, 3, 2)


def test_limits_are_changed_one_at_a_time(begun: Begun) -> None:
    document = begun.document("set", "--max-concurrent", 20)
    assert (document["max_concurrent"], document["rate"]) == (20, None)
    document = begun.document("set", "--rate", "10/s", "--failure-threshold", 0.75)
    assert (document["max_concurrent"], document["rate"]) == (20, "10/s")
    assert document["failure_threshold"] == 0.75
    shown = begun.command("set", "--max-concurrent", "none").stdout
    assert "10/s, partial, 0.75 may fail" in shown


def test_one_is_cancelled_and_then_stays_as_it_is(begun: Begun) -> None:
    assert begun.document("cancel")["status"] == "cancelled"
    late = begun.command("retry")
    assert late.exit_code == 1
    assert f"scatter {begun.id} has ended (cancelled)" in late.stderr
    assert f"flowstone runs retry {begun.run_id}" in late.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("show", 9_999), "there is no scatter 9999"),
        (("set", 1), "give --max-concurrent, --rate or --failure-threshold"),
        (("set", 1, "--max-concurrent", "many"), "'many' is not a number or none"),
        (("set", 1, "--rate", "fast"), "is not a rate"),
        (("set", 1, "--failure-threshold", 2), "2"),
    ],
)
def test_what_cannot_be_is_refused(begun: Begun, arguments: tuple[object, ...], said: str) -> None:
    ended = flowstone("scatter", *arguments)
    assert ended.exit_code in (1, 2)
    assert said in ended.stderr


async def test_every_view_and_column_is_on_the_page(dsn: str) -> None:
    """The page lists the views with their columns, and its statements have answers."""
    pg = await asyncpg.connect(dsn)
    text = "\n".join(block.text for block in blocks(PAGE, "text"))
    for view in ("scatter_progress", "scattered_items", "scatter_failures"):
        columns = [row["attname"] for row in await pg.fetch(COLUMNS, f"flowstone.{view}")]
        listed = text.partition(f"{view}\n")[2].partition("\n\n")[0]
        assert [line.split()[0] for line in listed.splitlines()] == columns
    for block in blocks(PAGE, "sql"):
        await pg.fetch(block.text)
    await pg.close()
