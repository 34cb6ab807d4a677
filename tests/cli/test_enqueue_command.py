"""``flowstone enqueue`` leaves a run to workers; with ``--wait`` it follows it to its end."""

from pathlib import Path

from tests.cli.invocation import Process, flowstone


def test_the_id_goes_to_stdout(durable: Path) -> None:
    ended = flowstone("enqueue", "report")

    assert (ended.exit_code, ended.stdout) == (0, "1\n")
    assert "flowstone runs watch 1" in ended.stderr


def test_for_machines_it_is_the_run(durable: Path) -> None:
    document = flowstone("enqueue", "report", "-p", "2025-01-15", "-o", "json").document

    assert document["created"] is True
    assert document["status"] == "running"
    assert document["targets"] == [{"asset": "sales.report", "partition": "d:2025-01-15"}]
    assert document["counts"] == {"pending": 1, "ready": 1}


def test_a_repeat_with_the_same_dedupe_is_the_first_run(durable: Path) -> None:
    first = flowstone("enqueue", "report", "--dedupe", "daily")
    again = flowstone("enqueue", "report", "--dedupe", "daily")

    assert first.stdout == again.stdout
    assert "nothing was enqueued" in again.stderr


def test_a_worker_of_another_queue_leaves_it_alone(durable: Path) -> None:
    flowstone("enqueue", "report", "--queue", "etl")

    flowstone("worker", "--drain", "-q", "default")
    before = flowstone("runs", "show", 1, "-o", "json").document["status"]
    flowstone("worker", "--drain", "-q", "etl:2,default")
    after = flowstone("runs", "show", 1, "-o", "json").document["status"]

    assert (before, after) == ("running", "succeeded")


def test_the_higher_priority_is_first(durable: Path) -> None:
    flowstone("enqueue", "numbers", "-p", "low", "--priority", "-1")
    flowstone("enqueue", "numbers", "-p", "high", "--priority", "1")

    flowstone("worker", "--drain", "--concurrency", "1")

    runs = flowstone("runs", "ls", "-o", "json").document["items"]
    ended = sorted(runs, key=lambda run: str(run["finished_at"]))
    assert [run["targets"][0]["partition"] for run in ended] == ["high", "low"]


def test_what_is_for_later_is_not_due(durable: Path) -> None:
    flowstone("enqueue", "report", "--at", "2999-01-01T00:00Z")

    assert flowstone("worker", "--drain").exit_code == 0
    assert flowstone("runs", "show", 1, "-o", "json").document["status"] == "running"


class TestWaiting:
    def test_for_a_worker_brings_the_value(self, durable: Path) -> None:
        with Process("worker", "-q", "default") as worker:
            worker.says("serves default")
            ended = flowstone("enqueue", "report", "--wait", "--timeout", "120s")

        assert (ended.exit_code, ended.stdout) == (0, "[1,2]\n")
        assert "2/2  sales.report   ok" in ended.stderr

    def test_for_a_failure_exits_with_1(self, durable: Path) -> None:
        with Process("worker", "-q", "default"):
            ended = flowstone("enqueue", "broken", "--wait", "-o", "json")

        assert ended.exit_code == 1
        assert ended.document["failures"][0]["error"]["type"] == "ValueError"

    def test_longer_than_the_timeout_exits_with_4_and_the_run_goes_on(self, durable: Path) -> None:
        ended = flowstone("enqueue", "report", "--wait", "--timeout", "50ms")

        assert (ended.exit_code, ended.stdout) == (4, "")
        assert "run 1 has not ended after 0.05s; it goes on" in ended.stderr
        assert "error" not in ended.stderr
        assert flowstone("runs", "show", 1, "-o", "json").document["status"] == "running"
