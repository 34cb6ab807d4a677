"""``flowstone approval`` lists what waits for somebody's word, and gives it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from flowstone.core import plugin, registries
from flowstone.engine.schema import migrate
from tests.cli.invocation import flowstone
from tests.conftest import a_database

DESK = """\
from flowstone import Context, FlowStone, Pipeline
from flowstone.plugins.checkpoints import NeedsApproval, approval

desk = Pipeline("desk")


@desk.asset
@approval(timeout="2d", approvers=["risk"])
async def trade(ctx: Context[str]) -> NeedsApproval[int]:
    return NeedsApproval(5, f"large \\x1b[31m{ctx.partition}")


app = FlowStone(desk)
"""


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server_dsn: str) -> Iterator[int]:
    """A project with one approval that waits, on a database with the tables for it; its id."""
    (tmp_path / "desk.py").write_text(DESK, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FLOWSTONE_APP", "desk:app")
    with a_database(server_dsn) as dsn:
        monkeypatch.setenv("FLOWSTONE_DSN", dsn)
        assert flowstone("db", "migrate").exit_code == 0
        assert flowstone("run", "trade", "--partition", "x").exit_code == 4
        (listed,) = flowstone("approval", "ls", "-o", "json").document["items"]
        yield int(listed["id"])


def test_a_day_at_the_desk(desk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    text = flowstone("approval", "ls").stdout
    assert "desk.trade[x]" in text
    assert "risk" in text
    assert "\x1b" not in text
    assert flowstone("approval", "ls", "--approver", "sales", "-o", "json").document["items"] == []
    assert "on: risk" in flowstone("approval", "show", desk).stdout
    shown = flowstone("runs", "show", 1).stdout
    assert "waits for approval (risk)" in shown

    refused = flowstone("approval", "approve", desk, "--by", "eve")
    assert refused.exit_code == 1
    assert "eve may not decide" in refused.stderr
    assert "risk may" in refused.stderr
    assert "--group risk" in refused.stderr
    ann = ("--by", "ann", "--group", "risk")
    odd = flowstone("approval", "approve", desk, *ann, "--value", '"text"')
    assert odd.exit_code == 2
    assert "is not what desk.trade returns" in odd.stderr
    escalated = flowstone(
        "approval", "escalate", desk, *ann, "--to", "cfo", "--timeout", "4h", "-o", "json"
    ).document
    assert (escalated["status"], escalated["approvers"]) == ("escalated", ["cfo"])

    monkeypatch.delenv("FLOWSTONE_APP")
    decided = flowstone(
        *("approval", "approve", desk, "--by", "cfo", "-m", "fine", "--value", "4", "-o", "json")
    ).document
    assert decided["status"] == "modified"
    assert (decided["value"], decided["decided_value"], decided["decided_by"]) == (5, 4, "cfo")
    closed = flowstone("approval", "reject", desk, "--by", "cfo")
    assert closed.exit_code == 1
    assert "was modified by cfo: fine" in closed.stderr
    assert flowstone("approval", "ls", "-o", "json").document["items"] == []
    everything = flowstone("approval", "ls", "--all").stdout
    assert "modified by cfo: fine" in everything


@pytest.mark.parametrize(
    "arguments",
    [
        ("approve", 7),
        ("approve", "x", "--by", "ann"),
        ("approve", 7, "--by", "ann", "--value", "{"),
        ("approve", 7, "--by", "ann", "--value", "[" * 5000 + "]" * 5000),
        ("escalate", 7, "--by", "ann"),
        ("escalate", 7, "--by", "ann", "--to", "cfo", "--timeout", "soon"),
        ("reject", 4711, "--by", "ann"),
        ("show", 4711),
    ],
    ids=lambda it: " ".join(map(str, it))[:60],
)
def test_bad_input_is_usage(desk_database: str, arguments: tuple[object, ...]) -> None:
    assert flowstone("approval", *arguments).exit_code == 2


@pytest.fixture(scope="module")
def migrated(server_dsn: str) -> Iterator[str]:
    with a_database(server_dsn) as dsn:
        known = registries.in_memory()
        plugin.install([plugin.load("checkpoints")], known)
        migrate(dsn, tables={name: known.tables.instance(name) for name in known.tables})
        yield dsn


@pytest.fixture
def desk_database(migrated: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("FLOWSTONE_DSN", migrated)
    return migrated
