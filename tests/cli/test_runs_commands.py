"""``flowstone runs`` reads from rows, and needs no application for it."""

from pathlib import Path

import pytest

from tests.cli.invocation import flowstone


class TestListing:
    def test_is_newest_first_by_status_and_in_pages(self, durable: Path) -> None:
        flowstone("run", "report")
        flowstone("run", "broken")
        flowstone("enqueue", "report", "--force")

        def ids(*arguments: object) -> list[int]:
            listed = flowstone("runs", "ls", *arguments, "-o", "json")
            return [run["run_id"] for run in listed.document["items"]]

        assert ids() == [3, 2, 1]
        assert ids("--status", "failed") == [2]
        assert ids("--limit", "2") == [3, 2]
        assert ids("--limit", "2", "--before", "2") == [1]

    def test_says_how_to_see_older_ones(self, durable: Path) -> None:
        flowstone("run", "report")
        flowstone("run", "report")

        ended = flowstone("runs", "ls", "--limit", "1")

        assert ended.stdout.splitlines()[0].split() == [
            *("run", "status", "created", "took", "targets", "assets")
        ]
        assert "2 reused" in ended.stdout
        assert "flowstone runs ls --before 2" in ended.stderr

    def test_needs_no_application(self, durable: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        flowstone("run", "report")
        monkeypatch.delenv("FLOWSTONE_APP")

        assert "sales.report" in flowstone("runs", "ls").stdout
        assert "sales.report" in flowstone("runs", "show", 1).stdout


class TestShowing:
    def test_has_what_was_computed_what_was_reused_and_why(self, durable: Path) -> None:
        flowstone("run", "numbers")
        flowstone("run", "report", "--config", "top_n=1")

        text = flowstone("runs", "show", 2).stdout

        assert text.startswith("run 2  succeeded  1 ok, 1 reused\n")
        assert "for sales.report\n" in text
        assert '"top_n": 1' in text
        assert "sales.report              succeeded" in text
        assert "never materialized" in text
        assert "sales.numbers             reused" in text
        assert "code unchanged" in text

    def test_has_the_failure_and_its_traceback_if_asked_for(self, durable: Path) -> None:
        flowstone("run", "behind_broken")

        plain = flowstone("runs", "show", 1).stdout
        verbose = flowstone("runs", "show", 1, "-v").stdout

        assert "ValueError: negative total  (shop.py:" in plain
        assert "upstream_failed" in plain
        assert "Traceback" not in plain
        assert "Traceback" in verbose

    def test_is_a_document_for_machines(self, durable: Path) -> None:
        flowstone("run", "numbers")
        flowstone("run", "sales")

        document = flowstone("runs", "show", 2, "-o", "json").document

        (row,) = document["materializations"]
        assert (row["asset"], row["status"], row["attempt"]) == ("sales.report", "succeeded", 1)
        assert row["reason"] == "never materialized"
        assert row["error"] is None
        assert row["duration_ms"] >= 0
        assert [it["asset"] for it in document["reused_values"]] == ["sales.numbers"]


class TestCancelling:
    def test_ends_what_has_not_started_once(self, durable: Path) -> None:
        flowstone("enqueue", "report")

        first = flowstone("runs", "cancel", 1)
        again = flowstone("runs", "cancel", 1)

        assert first.stdout == "run 1: 2 cancelled or asked to stop; now cancelled\n"
        assert again.stdout == "run 1 had ended: cancelled\n"
        assert first.exit_code == again.exit_code == 0


class TestWatching:
    @pytest.mark.parametrize(("target", "code"), [("report", 0), ("broken", 1), ("stopped", 1)])
    def test_exits_by_what_became_of_the_run(self, durable: Path, target: str, code: int) -> None:
        flowstone("run", target)

        ended = flowstone("runs", "watch", 1)

        assert (ended.exit_code, ended.stdout) == (code, "")
        assert f".{target}" in ended.stderr

    def test_longer_than_the_timeout_exits_with_4(self, durable: Path) -> None:
        flowstone("enqueue", "report")

        ended = flowstone("runs", "watch", 1, "--timeout", "0.05", "-o", "json")

        assert ended.exit_code == 4
        assert ended.document["status"] == "running"


class TestRetrying:
    def test_is_a_new_run_that_reuses_what_succeeded(self, durable: Path) -> None:
        (durable / "shop.py").write_text(
            (durable / "shop.py").read_text().replace("Dep(broken)", "Dep(numbers, type=int)")
        )
        flowstone("run", "sales", "other.broken")

        ended = flowstone("runs", "retry", 1)
        flowstone("worker", "--drain")
        document = flowstone("runs", "show", 2, "-o", "json").document

        assert ended.stdout == "2\n"
        assert document["retry_of"] == 1
        assert document["reused"] == 2
        assert [it["asset"] for it in document["materializations"]] == ["other.broken"]

    def test_of_what_the_application_no_longer_has_is_refused(self, durable: Path) -> None:
        flowstone("run", "broken")

        ended = flowstone("runs", "retry", 1, "--app", "shop:sales")

        assert ended.exit_code == 2
        assert "asset 'other.broken' does not exist" in ended.stderr
