"""``flowstone job`` and ``flowstone enqueue`` of jobs."""

import json
import re
from datetime import date
from pathlib import Path

import pytest

from tests.cli.invocation import Ended, Process, flowstone

MAILS = """\
import asyncio
from dataclasses import dataclass
from datetime import date

from flowstone import Cancel, FlowStone, Pipeline, Retry

shop = Pipeline("shop")
other = Pipeline("other")


@dataclass
class Address:
    name: str
    host: str = "example.org"


@shop.job(queue="mail", priority=1)
async def send_mail(to: Address, n: int = 1, on: date | None = None) -> dict[str, object]:
    return {"to": f"{to.name}@{to.host}", "n": n, "on": on}


@shop.job(retry=Retry(2, base="1ms"))
async def broken(why: str = "no reason") -> None:
    raise ValueError(why)


@shop.job
async def stopped() -> object:
    return Cancel("not today")


@shop.job
async def twice() -> None: ...


@other.job(name="twice")
async def also_twice() -> None: ...


@shop.asset
async def stock() -> int:
    return 1


app = FlowStone([shop, other])
"""


@pytest.fixture
def mails(durable: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (durable / "mails.py").write_text(MAILS, encoding="utf-8")
    monkeypatch.setenv("FLOWSTONE_APP", "mails:app")
    return durable


def enqueue(*arguments: object) -> int:
    ended = flowstone("enqueue", *arguments)
    assert ended.exit_code == 0, ended.stderr
    return int(ended.stdout)


def work() -> None:
    assert flowstone("worker", "-q", "default,mail", "--drain").exit_code == 0


def ids(*arguments: object) -> list[int]:
    listed = flowstone("job", "ls", *arguments, "-o", "json")
    assert listed.exit_code == 0, listed.stderr
    return [it["job_id"] for it in listed.document["items"]]


def show(job_id: int) -> dict[str, object]:
    document: dict[str, object] = flowstone("job", "show", job_id, "-o", "json").document
    return document


def failed_for_good(count: int = 1) -> list[int]:
    made = [enqueue("broken") for _ in range(count)]
    while ids("--status", "ready", "--job", "shop.broken"):
        work()
    return made


class TestEnqueueing:
    def test_arguments_are_json_or_else_text(self, mails: Path) -> None:
        job_id = enqueue(
            *("shop.send_mail", "--arg", 'to={"name": "ann"}', "--arg", "n=3"),
            *("--arg", "on=2025-01-15"),
        )

        document = show(job_id)
        assert document["arguments"] == {"to": {"name": "ann"}, "n": 3, "on": "2025-01-15"}
        assert (document["job"], document["queue"], document["priority"]) == (
            *("shop.send_mail", "mail", 1),
        )

    def test_a_name_alone_will_do_where_one_has_it(self, mails: Path) -> None:
        assert show(enqueue("send_mail", "--arg", 'to={"name":"ann"}'))["job"] == "shop.send_mail"

        ended = flowstone("enqueue", "twice")
        assert ended.exit_code == 2
        assert "say which: shop.twice, other.twice" in ended.stderr

    def test_queue_priority_and_delay_are_what_was_said(self, mails: Path) -> None:
        said = ("--queue", "far", "--priority", "7", "--delay", "1h")
        document = show(enqueue("broken", *said))

        assert (document["queue"], document["priority"]) == ("far", 7)
        assert document["not_before"] is not None

    def test_for_machines_it_is_the_job(self, mails: Path) -> None:
        document = flowstone("enqueue", "broken", "-o", "json").document

        assert (document["job"], document["status"]) == ("shop.broken", "ready")

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            (["send_mail"], "missing a required argument: 'to'"),
            (["send_mail", "--arg", "to=3"], "job 'shop.send_mail': at $.to"),
            (["broken", "--arg", "because=no"], "unexpected keyword argument 'because'"),
            (["broken", "--arg", "why"], "expected NAME=VALUE"),
            (["broken", "--arg", "why=a", "--arg", "why=b"], "'why' is given twice"),
            (["send_mial", "--arg", "n=1"], "Did you mean 'shop.send_mail'?"),
            (["shop.brokne"], "job 'shop.brokne' does not exist. Did you mean 'shop.broken'?"),
            (["stokc"], "asset 'stokc' does not exist"),
            (["stock", "--arg", "n=1"], "job 'stock' does not exist"),
            (["broken", "stopped"], "a job is enqueued alone"),
            (["broken", "stock"], "a job is enqueued alone"),
            (["broken", "-p", "x", "--no-deps"], "--partition, --no-deps: of assets"),
            (["broken", "--dedupe", "x"], "--dedupe: of assets"),
            (["stock", "--delay", "1h"], "an asset's run takes --at"),
            (["broken", "--queue", ""], "queue"),
        ],
    )
    def test_what_it_does_not_take_is_refused_and_nothing_is_enqueued(
        self, mails: Path, arguments: list[str], told: str
    ) -> None:
        ended = flowstone("enqueue", *arguments)

        assert (ended.exit_code, ended.stdout) == (2, "")
        assert told in ended.stderr
        assert ids() == []

    def test_waiting_prints_the_result(self, mails: Path) -> None:
        with Process("worker", "-q", "default,mail") as worker:
            worker.says("serves")
            well = flowstone(
                *("enqueue", "send_mail", "--arg", 'to={"name":"ann"}', "--wait", "--timeout", 120)
            )
            badly = flowstone("enqueue", "broken", "--arg", "why=no stamps", "--wait")
            stopped = flowstone("enqueue", "stopped", "--wait", "-o", "json")
            nothing = flowstone("enqueue", "shop.twice", "--wait")

        assert (well.exit_code, json.loads(well.stdout)["to"]) == (0, "ann@example.org")
        assert (badly.exit_code, badly.stdout) == (1, "")
        assert "ValueError: no stamps" in badly.stderr
        assert (stopped.exit_code, stopped.document["status"]) == (1, "cancelled")
        assert (nothing.exit_code, nothing.stdout) == (0, "null\n")

    def test_waiting_too_long_exits_with_4_and_the_job_goes_on(self, mails: Path) -> None:
        ended = flowstone("enqueue", "broken", "--wait", "--timeout", "50ms")

        assert (ended.exit_code, ended.stdout) == (4, "")
        assert re.search(r"job \d+ has not ended after 0.05s; it goes on", ended.stderr)


class TestListing:
    def test_is_newest_first_by_what_is_said_and_in_pages(self, mails: Path) -> None:
        [failed] = failed_for_good()
        far = enqueue("broken", "--queue", "far")
        mail = enqueue("send_mail", "--arg", 'to={"name":"ann"}')

        assert ids() == [mail, far, failed]
        assert ids("--status", "failed") == [failed]
        assert ids("--status", "failed", "--status", "ready") == [mail, far, failed]
        assert ids("--queue", "far") == [far]
        assert ids("--job", "shop.send_mail") == [mail]
        assert ids("--job", "shop.broken", "--status", "ready") == [far]
        assert ids("--id", far, "--id", mail) == [mail, far]
        assert ids("--older-than", "1h") == []
        assert ids("--newer-than", "1h") == [mail, far, failed]
        assert ids("--limit", 2) == [mail, far]
        assert ids("--limit", 2, "--before", far) == [failed]

    def test_people_see_why_and_how_to_go_on(self, mails: Path) -> None:
        failed_for_good(2)

        ended = flowstone("job", "ls", "--limit", 1)

        assert "ValueError: no reason  (mails.py:" in ended.stdout
        assert "--before" in ended.stderr

    def test_json_lines_have_a_job_each(self, mails: Path) -> None:
        enqueue("broken")
        enqueue("broken")

        lines = flowstone("job", "ls", "-o", "jsonl").stdout.splitlines()
        assert [json.loads(it)["status"] for it in lines] == ["ready", "ready"]

    def test_needs_no_application(self, mails: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        job_id = enqueue("broken")
        monkeypatch.delenv("FLOWSTONE_APP")

        assert ids() == [job_id]
        assert flowstone("job", "retry", "--all").exit_code == 0

    def test_half_a_name_is_refused(self, mails: Path) -> None:
        ended = flowstone("job", "ls", "--job", "broken")

        assert ended.exit_code == 2
        assert "give the full name, PIPELINE.broken" in ended.stderr


class TestShowing:
    def test_has_arguments_and_each_failed_attempt_with_its_traceback(self, mails: Path) -> None:
        job_id = enqueue("broken", "--arg", "why=no \x1b[31mstamps")
        while ids("--status", "ready"):
            work()

        text = flowstone("job", "show", job_id).stdout
        assert text.startswith(f"job {job_id}  shop.broken  failed\n")
        assert '{"why":"no ' in text
        assert "\x1b" not in text
        assert re.findall(r"^attempt (\d) failed", text, re.MULTILINE) == ["1", "2"]
        assert text.count("Traceback") == 2
        attempts = show(job_id)["failed_attempts"]
        assert isinstance(attempts, list)
        assert [it["error"]["type"] for it in attempts] == ["ValueError", "ValueError"]

    def test_has_the_result(self, mails: Path) -> None:
        job_id = enqueue("send_mail", "--arg", 'to={"name":"ann"}', "--arg", f"on={date.max}")
        work()

        assert '"ann@example.org"' in flowstone("job", "show", job_id).stdout
        assert show(job_id)["result"] == {"to": "ann@example.org", "n": 1, "on": "9999-12-31"}

    def test_says_where_it_waits(self, mails: Path) -> None:
        due, later = enqueue("broken", "--queue", "far"), enqueue("broken", "--delay", "1h")

        assert "waits for a worker that serves far" in flowstone("job", "show", due).stdout
        assert "waits for its time, 20" in flowstone("job", "show", later).stdout

    def test_one_that_is_not_there_is_a_usage_error(self, mails: Path) -> None:
        ended = flowstone("job", "show", 99)

        assert ended.exit_code == 2
        assert "job 99 does not exist" in ended.stderr


class TestChanging:
    def test_a_retry_lets_failed_jobs_run_again(self, mails: Path) -> None:
        failed_for_good(2)
        enqueue("broken", "--delay", "1h")
        (mails / "mails.py").write_text(MAILS.replace("raise ValueError(why)", "return"))

        ended = flowstone("job", "retry", "--status", "failed", "--queue", "default")
        work()

        assert (ended.exit_code, ended.stdout) == (0, "2 jobs ready to run again\n")
        assert len(ids("--status", "succeeded")) == 2
        assert len(ids("--status", "ready")) == 1

    def test_a_cancel_ends_what_has_not_started(self, mails: Path) -> None:
        near, far = enqueue("broken"), enqueue("broken", "--queue", "far")

        ended = flowstone("job", "cancel", "--queue", "far")

        assert ended.stdout == "1 job cancelled or asked to stop\n"
        assert (ids("--status", "cancelled"), ids("--status", "ready")) == ([far], [near])

    def test_rm_deletes_what_is_named(self, mails: Path) -> None:
        first, second = enqueue("broken"), enqueue("broken")

        ended = flowstone("job", "rm", "--id", first, "-o", "json")

        assert ended.document == {"schema_version": 1, "jobs": 1, "dry_run": False}
        assert ids() == [second]

    @pytest.mark.parametrize("verb", ["retry", "cancel", "rm"])
    def test_a_dry_run_says_how_many_and_changes_nothing(self, mails: Path, verb: str) -> None:
        failed_for_good(1)
        enqueue("broken", "--delay", "1h")
        before = flowstone("job", "ls", "-o", "json").stdout

        ended = flowstone("job", verb, "--all", "--dry-run")

        assert re.fullmatch(r"(2 jobs|1 job) would be .+\n", ended.stdout)
        assert flowstone("job", "ls", "-o", "json").stdout == before

    @pytest.mark.parametrize("verb", ["retry", "cancel", "rm"])
    def test_all_of_them_only_if_that_is_said(self, mails: Path, verb: str) -> None:
        enqueue("broken", "--delay", "1h")

        def refused(ended: Ended) -> bool:
            return ended.exit_code == 2 and "--all" in ended.stderr

        assert refused(flowstone("job", verb))
        assert refused(flowstone("job", verb, "--dry-run"))
        assert refused(flowstone("job", verb, "--all", "--status", "ready"))
        assert flowstone("job", verb, "--all").stdout.startswith("1 job ")
