"""``flowstone plan`` says what run would do, and writes nothing."""

from pathlib import Path

from tests.cli.invocation import flowstone


def test_the_plan_is_a_table_with_counts(durable: Path) -> None:
    flowstone("run", "numbers")

    ended = flowstone("plan", "report", "-q")

    header, numbers, report, counts = ended.stdout.splitlines()
    assert header.split() == ["asset", "partition", "action", "why"]
    assert numbers.split()[:2] == ["sales.numbers", "reuse"]
    assert "code unchanged" in numbers
    assert report.split() == ["sales.report", "run", "never", "materialized"]
    assert counts == "1 to run, 1 reused"


def test_for_machines_the_plan_is_a_list(durable: Path) -> None:
    ended = flowstone("plan", "sales", "-p", "2025-01-15", "-o", "json")

    assert ended.document["schema_version"] == 1
    assert ended.document["items"][0] == {
        "asset": "sales.numbers",
        "partition": "d:2025-01-15",
        "action": "run",
        "reason": "never materialized",
        "materialization_id": None,
        "materialized_at": None,
    }


def test_json_lines_have_one_decision_each(durable: Path) -> None:
    ended = flowstone("plan", "report", "-o", "jsonl")

    assert ended.stdout.count('"action": "run"') == ended.stdout.count("\n") == 2


def test_the_plan_is_what_the_run_does(durable: Path) -> None:
    arguments = ("report", "--force", "--config", "top_n=1")
    planned = flowstone("plan", *arguments, "-o", "json").document["items"]
    flowstone("run", *arguments)

    ran = flowstone("runs", "show", 1, "-o", "json").document["materializations"]

    assert [it["asset"] for it in planned if it["action"] == "run"] == [it["asset"] for it in ran]
    assert [it["reason"] for it in planned] == [it["reason"] for it in ran]


def test_a_plan_leaves_nothing_behind(durable: Path) -> None:
    flowstone("plan", "report")

    assert flowstone("runs", "ls", "-o", "json").document["items"] == []
