"""``flowstone run`` computes here, tells what it does on stderr, and prints the value."""

import json
import logging
import signal
from pathlib import Path

import pytest

from tests.cli.conftest import SHOP
from tests.cli.invocation import Process, eventually, flowstone

BROKEN_LINE = SHOP.splitlines().index('    raise ValueError("negative total")') + 1

DESK = """\
from flowstone import Definition, Pipeline
from flowstone.core.contracts.strategy import Execution, Strategy
from flowstone.core.outcome import Outcome, Stored, Waiting, Wake


class Approval(Strategy):
    async def start(self, execution: Execution) -> Outcome:
        return Waiting("approval")

    async def resume(self, execution: Execution, wake: Wake) -> Outcome:
        return Stored(wake.payload)


def trade() -> int: ...


desk = Pipeline("desk")
desk.asset(Definition(trade, strategy=Approval()))
"""


class TestWithoutADatabase:
    def test_the_value_goes_to_stdout_and_all_else_to_stderr(self, project: Path) -> None:
        ended = flowstone("run", "report", "--memory")

        assert (ended.exit_code, ended.stdout) == (0, "[1,2]\n")
        assert "1/2  sales.numbers  ok" in ended.stderr
        assert "2/2  sales.report   ok" in ended.stderr
        assert "run 1 succeeded  2 ok" in ended.stderr
        assert "runs show" not in ended.stderr

    def test_the_name_of_a_pipeline_is_all_of_its_assets(self, project: Path) -> None:
        ended = flowstone("run", "sales", "--memory", "-o", "json")

        assert ended.exit_code == 0
        assert [it["asset"] for it in ended.document["targets"]] == [
            "sales.numbers",
            "sales.report",
        ]
        assert ended.document["values"] == [[3, 1, 2], [1, 2]]
        assert ended.document["counts"] == {"succeeded": 2}

    def test_of_several_targets_no_value_is_printed(self, project: Path) -> None:
        assert flowstone("run", "numbers", "report", "--memory").stdout == ""

    def test_a_failure_is_told_with_its_line_and_exits_with_1(
        self, project: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        ended = flowstone("run", "behind_broken", "--memory")

        assert (ended.exit_code, ended.stdout) == (1, "")
        assert "other.broken         FAILED" in ended.stderr
        assert f"ValueError: negative total  (shop.py:{BROKEN_LINE})" in ended.stderr
        assert "other.behind_broken  upstream failed" in ended.stderr
        assert "run 1 failed  1 failed, 1 upstream failed" in ended.stderr
        assert caplog.records == []

    def test_a_failure_is_logged_too_when_more_is_wanted(
        self, project: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        flowstone("run", "broken", "--memory", "-v")

        (record,) = [it for it in caplog.records if it.levelno == logging.ERROR]
        assert record.exc_info is not None

    def test_quietly_a_failure_is_one_error(self, project: Path) -> None:
        ended = flowstone("run", "broken", "--memory", "-q")

        assert ended.exit_code == 1
        assert ended.stderr == (
            "error: run 1 failed\n"
            f"  other.broken: ValueError: negative total  (shop.py:{BROKEN_LINE})\n"
        )

    def test_quietly_a_success_says_nothing_but_the_value(self, project: Path) -> None:
        ended = flowstone("run", "report", "--memory", "-q")

        assert (ended.stdout, ended.stderr) == ("[1,2]\n", "")

    def test_for_machines_a_failure_is_a_document_with_its_cause(self, project: Path) -> None:
        ended = flowstone("run", "broken", "--memory", "-o", "jsonl")

        assert ended.exit_code == 1
        (failure,) = ended.document["failures"]
        assert failure["asset"] == "other.broken"
        assert failure["error"]["type"] == "ValueError"
        assert "values" not in ended.document

    def test_attempts_that_failed_are_told(self, project: Path) -> None:
        ended = flowstone("run", "flaky", "--memory")

        assert ended.exit_code == 1
        assert "FAILED" in ended.stderr
        assert "attempt 2" in ended.stderr

    def test_a_cancelled_target_exits_with_1(self, project: Path) -> None:
        ended = flowstone("run", "stopped", "--memory")

        assert (ended.exit_code, ended.stdout) == (1, "")
        assert "not today" in ended.stderr

    def test_a_skipped_target_is_null_and_no_failure(self, project: Path) -> None:
        ended = flowstone("run", "left_out", "--memory")

        assert (ended.exit_code, ended.stdout) == (0, "null\n")
        assert "nothing new" in ended.stderr

    def test_a_value_that_cannot_be_stored_fails_with_the_place_in_it(self, project: Path) -> None:
        ended = flowstone("run", "no_json", "--memory")

        assert ended.exit_code == 1
        assert "the value cannot be stored: at $[1]" in ended.stderr

    @pytest.mark.parametrize(
        ("given", "value"),
        [
            (["--config", "top_n=1"], [1]),
            (["--config", "@top.json"], [1, 2, 3]),
            (["--config", "@top.json", "--config", "top_n=1"], [1]),
        ],
    )
    def test_a_configuration_comes_by_field_or_from_a_file(
        self, project: Path, given: list[str], value: list[int]
    ) -> None:
        (project / "top.json").write_text('{"top_n": 3}')

        ended = flowstone("run", "report", "--memory", *given)

        assert json.loads(ended.stdout) == value

    def test_a_partition_reaches_the_asset_typed(self, project: Path) -> None:
        (project / "days.py").write_text(
            "from flowstone import Context, Pipeline\n"
            "days = Pipeline('days')\n"
            "@days.asset\n"
            "def kind(ctx: Context) -> str:\n"
            "    return f'{type(ctx.partition).__name__} {ctx.partition}'\n"
        )

        by_iso = flowstone("run", "kind", "--memory", "--app", "days:days", "-p", "2025-01-15")
        by_tag = flowstone("run", "kind", "--memory", "--app", "days:days", "-p", "d:2025-01-15")
        text = flowstone("run", "kind", "--memory", "--app", "days:days", "-p", "o'; DROP TABLE x")

        assert by_iso.stdout == by_tag.stdout == '"date 2025-01-15"\n'
        assert json.loads(text.stdout) == "str o'; DROP TABLE x"

    def test_what_waits_for_somebody_is_no_failure_and_exits_with_4(self, project: Path) -> None:
        (project / "desk.py").write_text(DESK)

        ended = flowstone("run", "trade", "--memory", "--app", "desk:desk")

        assert (ended.exit_code, ended.stdout) == (4, "")
        assert "desk.trade  waits for approval" in ended.stderr
        assert "run 1 waits: desk.trade for approval" in ended.stderr
        assert "error" not in ended.stderr

    def test_memory_and_a_database_exclude_each_other(self, project: Path) -> None:
        ended = flowstone("run", "report", "--memory", "--dsn", "postgresql://localhost/x")

        assert ended.exit_code == 2
        assert "leave --dsn out" in ended.stderr


class TestOnPostgres:
    def test_what_is_fresh_is_reused(self, durable: Path) -> None:
        flowstone("run", "report")
        again = flowstone("run", "report")
        forced = flowstone("run", "report", "--force")

        assert again.stdout == "[1,2]\n"
        assert "2 reused" in again.stderr
        assert "runs show 2" in again.stderr
        assert "1 ok, 1 reused" in forced.stderr

    def test_without_its_upstreams_a_target_needs_their_values(self, durable: Path) -> None:
        ended = flowstone("run", "report", "--no-deps")

        assert ended.exit_code == 1
        assert ended.stderr == "error: Dependencies not ready: [sales.numbers]\n"

    @pytest.mark.parametrize(
        ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["int", "term"]
    )
    def test_a_stop_hands_back_what_runs_and_says_how_the_run_goes_on(
        self, durable: Path, number: signal.Signals, code: int
    ) -> None:
        with Process("run", "slow") as process:
            eventually((durable / "began").exists, "the asset begins")
            process.signal(number)
            ended = process.ends()

        assert ended.exit_code == code
        assert "run 1 goes on when a worker takes it" in ended.stderr
        (row,) = flowstone("runs", "show", 1, "-o", "json").document["materializations"]
        assert row["status"] == "ready"
