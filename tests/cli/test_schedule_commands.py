"""``flowstone schedule``: list, add, pause, trigger, and what is refused."""

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.cli.invocation import Ended, Process, eventually, flowstone

REPORTS = """\
from flowstone import FlowStone, Pipeline

shop = Pipeline("shop")


@shop.job
async def report(region: str = "eu", days: int = 1) -> str:
    return f"{region} {days}"


@shop.asset
async def stock() -> int:
    return 1


shop.schedule("morning", "0 8 * * *", report.with_("eu"), timezone="Europe/Berlin")

app = FlowStone(shop)
"""


@pytest.fixture
def reports(durable: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (durable / "reports.py").write_text(REPORTS, encoding="utf-8")
    monkeypatch.setenv("FLOWSTONE_APP", "reports:app")
    return durable


def schedule(*arguments: object) -> Ended:
    ended = flowstone("schedule", *arguments)
    assert ended.exit_code == 0, ended.stderr
    return ended


def listed() -> dict[str, dict[str, Any]]:
    items = schedule("ls", "-o", "json").document["items"]
    return {it["schedule"]: it for it in items}


def synchronized() -> None:
    """Let a worker make the rows as the code has them."""
    with Process("worker"):
        eventually(lambda: "shop.morning" in listed(), "the worker keeps its schedules as rows")


class TestAdding:
    def test_one_is_kept_with_all_that_was_said(self, reports: Path) -> None:
        ended = schedule(
            *(
                "add",
                "us",
                "*/5 9-17 * * *",
                "shop.report",
                "--arg",
                "region=us",
                "--arg",
                "days=7",
            ),
            *("--timezone", "America/New_York", "--missed", "skip", "--queue", "slow"),
            *("--priority", "3"),
        )

        assert "schedule shop.us comes next at 2" in ended.stdout
        us = listed()["shop.us"]
        assert us["arguments"] == {"region": "us", "days": 7}
        assert (us["cron"], us["timezone"]) == ("*/5 9-17 * * *", "America/New_York")
        assert (us["missed"], us["queue"], us["priority"]) == ("skip", "slow", 3)
        assert (us["source"], us["job"]) == ("runtime", "shop.report")

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            (("61 * * * *", "report"), "bad minute"),
            (("@daily", "report", "--timezone", "Berlin"), "timezone 'Berlin'"),
            (("@daily", "report", "--arg", "days=many"), "$.days"),
            (("@daily", "report", "--arg", "dais=1"), "dais"),
            (("@daily", "reprot"), "job 'reprot' does not exist"),
            (("@daily", "stock"), "job 'stock' does not exist"),
        ],
    )
    def test_what_is_wrong_is_refused(
        self, reports: Path, arguments: tuple[str, ...], told: str
    ) -> None:
        ended = flowstone("schedule", "add", "mine", *arguments)

        assert ended.exit_code == 2
        assert told in ended.stderr
        assert listed() == {}


class TestOperating:
    def test_next_ticks_are_told_in_the_schedules_time_zone(self, reports: Path) -> None:
        schedule("add", "berlin", "0 8 * * *", "report", "--timezone", "Europe/Berlin")

        lines = schedule("next", "berlin", "--count", 250).stdout.splitlines()

        ticks = [datetime.fromisoformat(it) for it in lines]
        assert {it.hour for it in ticks} == {8}
        assert len({it.utcoffset() for it in ticks}) == 2
        assert len(ticks) == 250

    def test_pause_and_resume(self, reports: Path) -> None:
        schedule("add", "mine", "@daily", "report")

        assert schedule("pause", "mine").stdout == "schedule shop.mine is paused\n"
        assert listed()["shop.mine"]["next_at"] is None
        assert "paused" in schedule("ls").stdout
        ended = schedule("next", "mine")
        assert (ended.stdout.strip(), ended.stderr) == ("", "schedule shop.mine is paused\n")

        assert "comes next at" in schedule("resume", "mine").stdout
        assert listed()["shop.mine"]["next_at"] is not None

    def test_trigger_prints_the_id_of_a_job_that_runs(self, reports: Path) -> None:
        schedule("add", "mine", "@daily", "report", "--arg", "region=us")

        job_id = schedule("trigger", "mine").stdout.strip()
        assert flowstone("worker", "--drain").exit_code == 0

        job = flowstone("job", "show", job_id, "-o", "json").document
        assert (job["result"], job["schedule"], job["tick_at"]) == ("us 1", "shop.mine", None)
        assert "of schedule shop.mine, by hand" in flowstone("job", "show", job_id).stdout

    def test_what_was_added_is_removed_and_the_codes_is_not(self, reports: Path) -> None:
        synchronized()
        schedule("add", "mine", "@daily", "report")

        assert schedule("rm", "mine").stdout == "schedule shop.mine is removed\n"
        ended = flowstone("schedule", "rm", "morning")

        assert ended.exit_code == 2
        assert "is defined in code" in ended.stderr
        assert [*listed()] == ["shop.morning"]

    def test_one_that_is_not_there_is_refused_by_every_command(self, reports: Path) -> None:
        schedule("add", "mine", "@daily", "report")

        for command in ("next", "rm", "pause", "resume", "trigger"):
            ended = flowstone("schedule", command, "mien")

            assert ended.exit_code == 2, command
            assert "schedule 'mien' does not exist" in ended.stderr

    def test_all_but_adding_need_no_application(
        self, reports: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        schedule("add", "mine", "@daily", "report")
        (reports / "reports.py").write_text("raise RuntimeError", encoding="utf-8")

        for command in ("next", "pause", "resume", "trigger", "rm"):
            schedule(command, "mine")

    def test_jsonl_is_one_schedule_a_line(self, reports: Path) -> None:
        for name in ("a", "b"):
            schedule("add", name, "@daily", "report")

        assert len(schedule("ls", "-o", "jsonl").stdout.splitlines()) == 2
        assert len(schedule("next", "a", "-o", "jsonl", "--count", 3).stdout.splitlines()) == 3
