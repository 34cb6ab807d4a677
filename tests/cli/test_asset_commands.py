"""``flowstone asset``: what there is, how it hangs together, and where its values stand."""

import json
from pathlib import Path

import click
import pytest

from flowstone.cli import asset_commands
from flowstone.core.contracts.store import Key
from flowstone.engine.invalidation import count_invalidated
from tests.cli.invocation import flowstone

DAY = "d:2025-01-15"
NOWHERE = "postgresql://nobody@/nothing?host=/nonexistent"

FORMERLY = """\
from flowstone import FlowStone, Pipeline

sales = Pipeline("sales")


@sales.asset(aliases=["sales.numbers"], owner="risk", tags=["core"], timeout="10m", retry=7)
async def figures() -> list[int]:
    "What was sold."
    return [1]


app = FlowStone(sales)
"""


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Questions are asked, and answered with no; what was asked is returned."""
    asked: list[str] = []

    def answer(question: str, **_: object) -> None:
        asked.append(question)
        raise click.Abort

    monkeypatch.setattr(asset_commands, "_is_asked", lambda: True)
    monkeypatch.setattr(click, "confirm", answer)
    return asked


class TestLs:
    def test_says_where_each_asset_stands(self, durable: Path) -> None:
        flowstone("run", "report")
        flowstone("run", "behind_broken")
        flowstone("asset", "invalidate", "report")

        items = flowstone("asset", "ls", "-o", "json").document["items"]

        states = {it["asset"]: it["state"] for it in items}
        assert states == {
            "sales.numbers": "stored",
            "sales.report": "invalidated",
            "other.broken": "failed",
            "other.behind_broken": "upstream_failed",
            "other.flaky": "missing",
            "other.no_json": "missing",
            "other.stopped": "missing",
            "other.left_out": "missing",
            "other.slow": "missing",
        }

    def test_shows_the_partition_that_was_worked_on_last(self, durable: Path) -> None:
        flowstone("run", "numbers", "-p", "2025-01-16")
        flowstone("run", "numbers", "-p", "2025-01-15")

        last = flowstone("asset", "ls", "numbers", "-o", "json").document["items"]
        given = flowstone("asset", "ls", "numbers", "-p", "2025-01-17", "-o", "json").document

        assert [(it["partition"], it["state"]) for it in last] == [(DAY, "stored")]
        assert [(it["partition"], it["state"]) for it in given["items"]] == [
            ("d:2025-01-17", "missing")
        ]

    def test_is_a_table_of_what_there_is_to_say(self, durable: Path) -> None:
        header, *lines = flowstone("asset", "ls", "other").stdout.splitlines()

        assert header.split() == ["asset", "state", "queue"]
        assert lines[-1].split() == ["other.slow", "missing", "slow"]

    def test_tells_what_was_said_about_an_asset(self, durable: Path) -> None:
        (durable / "formerly.py").write_text(FORMERLY)

        (item,) = flowstone("asset", "ls", "--app", "formerly", "-o", "json").document["items"]

        assert item["description"] == "What was sold."
        assert (item["owner"], item["tags"], item["queue"]) == ("risk", ["core"], "default")
        assert (item["timeout_seconds"], item["attempts"]) == (600.0, 7)

    def test_has_one_asset_a_line_for_json_lines(self, durable: Path) -> None:
        assert flowstone("asset", "ls", "sales", "-o", "jsonl").stdout.count("\n") == 2

    def test_of_an_unknown_asset_is_a_usage_error(self, durable: Path) -> None:
        ended = flowstone("asset", "ls", "reprot")

        assert ended.exit_code == 2
        assert "Did you mean" in ended.stderr

    def test_needs_its_database(self, project: Path) -> None:
        assert flowstone("asset", "ls", "--dsn", NOWHERE).exit_code == 3


class TestShow:
    def test_tells_what_an_asset_takes_and_gives(self, durable: Path) -> None:
        document = flowstone("asset", "show", "report", "-o", "json").document

        assert document["inputs"] == [
            {
                "parameter": "base",
                "upstream": "sales.numbers",
                "type": "list[int]",
                "is_optional": False,
            }
        ]
        assert (document["returns"], document["config"]) == ("list[int]", "Top")
        assert document["upstream"] == {"direct": ["sales.numbers"], "all": ["sales.numbers"]}
        assert document["downstream"] == {"direct": [], "all": []}
        assert document["defined_at"].startswith("shop.py:")
        assert (document["state"], document["latest"]) == ("missing", None)

    def test_tells_where_its_value_is_and_what_was_tried_last(self, durable: Path) -> None:
        flowstone("run", "numbers")

        ended = flowstone("asset", "show", "numbers")

        assert "value         stored 20" in ended.stdout
        assert "kept in       the database" in ended.stdout
        assert "latest        run 1, ok in 0.0" in ended.stdout
        assert ended.stdout.endswith("downstream: sales.report\n")

    def test_tells_why_it_failed(self, durable: Path) -> None:
        flowstone("run", "broken")

        shown = flowstone("asset", "show", "broken").stdout

        assert "ValueError: negative total  (shop.py:" in shown

    def test_says_when_the_value_is_of_other_code(self, durable: Path) -> None:
        flowstone("run", "numbers")
        (durable / "later.py").write_text(FORMERLY)

        shown = flowstone("asset", "show", "figures", "--app", "later").stdout

        assert "by materialization 1, by other code" in shown
        assert "formerly      sales.numbers" in shown


class TestGraph:
    def test_needs_no_database(self, project: Path) -> None:
        ended = flowstone("asset", "graph", "--dsn", NOWHERE)

        assert ended.exit_code == 0
        assert "sales.numbers\n└── sales.report\n" in ended.stdout

    @pytest.mark.parametrize(
        ("format_", "begins"), [("mermaid", "graph TD\n"), ("dot", "digraph flowstone {\n")]
    )
    def test_is_drawn_for_other_programs(self, project: Path, format_: str, begins: str) -> None:
        assert flowstone("asset", "graph", "-f", format_).stdout.startswith(begins)

    def test_for_machines_has_nodes_and_edges(self, project: Path) -> None:
        document = flowstone("asset", "graph", "sales", "-o", "json").document

        assert document["nodes"] == ["sales.numbers", "sales.report"]
        assert document["edges"] == [
            {"upstream": "sales.numbers", "downstream": "sales.report", "kind": "required"}
        ]
        assert json.loads(flowstone("asset", "graph", "sales", "-f", "json").stdout).keys() == {
            "nodes",
            "edges",
        }

    def test_of_an_asset_is_what_it_hangs_together_with(self, project: Path) -> None:
        assert flowstone("asset", "graph", "broken").stdout == "broken\n└── behind_broken\n"
        assert flowstone("asset", "graph", "flaky").stdout == "flaky\n"


class TestValue:
    def test_is_printed_as_json(self, durable: Path) -> None:
        flowstone("run", "report", "-p", "2025-01-15", "--config", "top_n=3")

        plain = flowstone("asset", "value", "report", "-p", "2025-01-15")
        document = flowstone("asset", "value", "report", "-p", DAY, "-o", "json").document

        assert plain.stdout == "[1,2,3]\n"
        assert document["value"] == [1, 2, 3]
        assert (document["asset"], document["partition"]) == ("sales.report", DAY)

    def test_that_is_not_there_is_exit_code_1_and_says_where_one_is(self, durable: Path) -> None:
        nowhere = flowstone("asset", "value", "report", "-q")
        flowstone("run", "report", "-p", "2025-01-15")
        elsewhere = flowstone("asset", "value", "report", "-q")

        assert (nowhere.exit_code, nowhere.stdout) == (1, "")
        assert nowhere.stderr == "error: sales.report has no value; run it first\n"
        assert elsewhere.stderr.endswith("run it first (its latest partition: -p d:2025-01-15)\n")


class TestHistory:
    def test_is_newest_first(self, durable: Path) -> None:
        for _ in range(3):
            flowstone("run", "numbers", "--force")

        items = flowstone("asset", "history", "numbers", "--limit", 2, "-o", "json").document

        assert [it["run_id"] for it in items["items"]] == [3, 2]

    def test_tells_why_each_was_made_and_what_failed(self, durable: Path) -> None:
        flowstone("run", "flaky")

        header, line = flowstone("asset", "history", "flaky").stdout.splitlines()

        assert header.split() == [*asset_commands.HISTORY]
        assert line.split()[2:4] == ["FAILED", "2"]
        assert "ConnectionError: nobody there" in line

    def test_goes_on_under_a_new_name(self, durable: Path) -> None:
        flowstone("run", "numbers")
        (durable / "later.py").write_text(FORMERLY)
        flowstone("run", "figures", "--app", "later")

        document = flowstone("asset", "history", "figures", "--app", "later", "-o", "json").document

        assert [it["asset"] for it in document["items"]] == ["sales.figures", "sales.numbers"]

    def test_of_nothing_says_so(self, durable: Path) -> None:
        assert flowstone("asset", "history", "numbers").stdout == (
            "sales.numbers was never materialized\n"
        )


class TestInvalidate:
    def test_reaches_what_was_made_from_it(self, durable: Path) -> None:
        flowstone("run", "report")

        first = flowstone("asset", "invalidate", "numbers")
        again = flowstone("asset", "invalidate", "numbers", "-o", "json")

        assert first.stdout == "2 invalidated\n"
        assert again.document["invalidated"] == 0
        planned = flowstone("plan", "report", "-o", "json").document["items"]
        assert [it["reason"] for it in planned] == ["invalidated", "invalidated"]

    def test_can_leave_downstream_as_it_is(self, durable: Path) -> None:
        flowstone("run", "report")

        ended = flowstone("asset", "invalidate", "numbers", "--no-downstream")

        assert ended.stdout == "1 invalidated\n"

    def test_asks_on_a_terminal_with_the_number_of_values(
        self, durable: Path, terminal: list[str]
    ) -> None:
        flowstone("run", "report")

        refused = flowstone("asset", "invalidate", "numbers")

        assert terminal == ["Invalidate sales.numbers and what was made from it, 2 values?"]
        assert refused.exit_code == 130
        assert flowstone("asset", "value", "numbers").exit_code == 0

    def test_does_not_ask_when_told_so_or_when_there_is_nothing_to_do(
        self, durable: Path, terminal: list[str]
    ) -> None:
        flowstone("run", "report")

        told = flowstone("asset", "invalidate", "numbers", "-y")
        nothing = flowstone("asset", "invalidate", "numbers")

        assert (told.stdout, nothing.stdout) == ("2 invalidated\n", "0 invalidated\n")
        assert terminal == []

    def test_counts_without_changing_anything(self, durable: Path, dsn: str) -> None:
        flowstone("run", "report")
        keys = [Key("sales.numbers", "")]

        assert count_invalidated(dsn, keys, downstream=True) == 2
        assert count_invalidated(dsn, keys, downstream=True) == 2
        assert count_invalidated(dsn, keys, downstream=False) == 1

    def test_of_another_partition_says_where_there_is_one(self, durable: Path) -> None:
        flowstone("run", "numbers", "-p", "2025-01-15")

        ended = flowstone("asset", "invalidate", "numbers")

        assert ended.stdout == "0 invalidated\n"
        assert "nothing to do (its latest partition: -p d:2025-01-15)" in ended.stderr
