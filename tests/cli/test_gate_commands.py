"""``flowstone gate`` shows what is open, and signals it."""

import os
from pathlib import Path

import pytest

from tests.cli.invocation import flowstone

TASKS = """\
from flowstone import FlowStone, Pipeline
from flowstone.plugins.signal_gate import Wait, signal_gate

p = Pipeline("p")


async def on_signal(payload: int) -> int:
    return payload


@p.asset
@signal_gate(on_signal=on_signal, timeout="2h")
async def task() -> Wait:
    return Wait("task 7", {"where": "eu"})


app = FlowStone(p)
"""


@pytest.fixture
def waiting(project: Path, bare_dsn: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """A run that waits at a gate."""
    (project / "tasks.py").write_text(TASKS, encoding="utf-8")
    monkeypatch.setenv("FLOWSTONE_APP", "tasks:app")
    monkeypatch.setenv("FLOWSTONE_DSN", bare_dsn)
    assert flowstone("db", "migrate").exit_code == 0
    ended = flowstone("run", "task", "-o", "json")
    assert (ended.exit_code, "task 7" in ended.stderr) == (4, True)
    return int(flowstone("runs", "ls", "-o", "json").document["items"][0]["run_id"])


def test_a_gate_is_listed_shown_and_signaled(waiting: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as without:
        without.delenv("FLOWSTONE_APP")
        (listed,) = flowstone("gate", "ls", "-o", "json").document["items"]
        shown = flowstone("gate", "show", "task 7").stdout
        assert flowstone("gate", "ls", "--asset", "p.other", "-o", "jsonl").stdout == ""
    assert (listed["token"], listed["asset"], listed["run_id"]) == ("task 7", "p.task", waiting)
    assert shown.splitlines()[0] == "gate task 7: waiting"
    assert 'metadata: {"where":"eu"}' in shown.replace('": "', '":"')

    wrong = flowstone("gate", "signal", "task 7", "-d", '"many"')
    first = flowstone("gate", "signal", "task 7", "-d", "7")
    again = flowstone("gate", "signal", "task 7", "-d", "7", "-o", "json").document
    other = flowstone("gate", "signal", "task 7", "-d", "8")

    assert (wrong.exit_code, "is refused: at $" in wrong.stderr) == (1, True)
    assert first.stdout == "signal task 7: accepted\n"
    assert again == {"schema_version": 1, "token": "task 7", "answer": "repeated"}
    assert (other.exit_code, "another payload" in other.stderr) == (1, True)
    assert flowstone("gate", "ls", "-o", "jsonl").stdout == ""
    (document,) = [flowstone("gate", "show", "task 7", "-o", "json").document]
    assert (document["status"], document["payload"]) == ("signaled", 7)
    assert document["sender"]["by"] == "flowstone gate signal"


def test_what_it_cannot_do_it_says(waiting: int, project: Path) -> None:
    (project / "payload.json").write_text("{", encoding="utf-8")

    assert flowstone("gate", "show", "nobody").exit_code == 2
    for data in ("done", "@payload.json", "@nowhere.json"):
        ended = flowstone("gate", "signal", "task 7", "-d", data)
        assert (ended.exit_code, "--data" in ended.stderr) == (2, True)
    kept = flowstone("gate", "signal", "task 8", "-d", "@-")
    assert kept.exit_code == 2, "stdin is empty"
    assert "kept for the one that opens" in flowstone("gate", "signal", "task 8").stdout


def test_what_only_some_take_for_json_is_none(waiting: int) -> None:
    for data in ("NaN", '"\\u0000"', '"\\ud800"', "[" * 5000 + "]" * 5000):
        for token in ("task 7", "nobody's"):
            ended = flowstone("gate", "signal", token, "-d", data)
            assert (ended.exit_code, "--data" in ended.stderr) == (2, True)
    assert flowstone("gate", "show", "task 7", "-o", "json").document["status"] == "waiting"


def test_who_has_no_name_is_a_number(waiting: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 2**31 - 7)

    assert flowstone("gate", "signal", "task 7", "-d", "7").exit_code == 0
    shown = flowstone("gate", "show", "task 7", "-o", "json").document
    assert shown["sender"]["user"] == f"{2**31 - 7}"
