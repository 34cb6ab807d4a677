"""What an orchestrator is told over HTTP: that the loop turns, that all works, what was done."""

import asyncio
import json
import signal
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from flowstone import FlowStone, Pipeline
from flowstone.cli import worker_http
from flowstone.cli.worker_http import answering
from flowstone.cli.worker_metrics import counting
from flowstone.core.errors import InvalidOptionError
from flowstone.core.worker_options import WorkerOptions
from tests.cli.invocation import Process, flowstone
from tests.ports import free_port

HOST = "127.0.0.1"


def ask(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://{HOST}:{port}{path}", timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def pipeline() -> Pipeline:
    p = Pipeline("p")

    @p.job(retry=1)
    async def mail(to: str) -> None:
        if not to:
            raise ValueError("to whom?")

    @p.asset
    async def one() -> int:
        return 1

    return p


async def test_a_loop_that_is_held_still_has_its_liveness_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with FlowStone(pipeline()) as app:
        with answering(app, HOST, 0, None) as port:
            # Asked from the loop's own thread: while it waits for the answer nothing turns.
            status, text = ask(port, "/live")
            assert (status, json.loads(text)["live"]) == (200, True)
            monkeypatch.setattr(worker_http, "LIVE_SECONDS", 0.0)
            status, text = ask(port, "/live")

    assert (status, json.loads(text)["live"]) == (503, False)


async def test_health_says_what_fails_and_what_mends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async with FlowStone(pipeline()) as app:
        with answering(app, HOST, 0, None) as port:
            well = await asyncio.to_thread(ask, port, "/health")
            monkeypatch.setattr(worker_http, "HEALTH_SECONDS", 0.01)
            held = ask(port, "/health")

    assert well[0] == 200
    assert json.loads(well[1])["ok"] is True
    assert held[0] == 503
    assert json.loads(held[1])["problem"] == "the event loop does not answer"


async def test_metrics_count_attempts_by_how_they_ended() -> None:
    p = pipeline()
    async with FlowStone(p) as app:
        mail = p.jobs[0]
        with counting(app) as metrics, answering(app, HOST, 0, metrics) as port:
            await app.enqueue_many([mail.with_("Ada"), mail.with_("")])
            await app.run("one")
            await app.worker(WorkerOptions(queues={"default": 2}, drain=True)).run()
            status, text = await asyncio.to_thread(ask, port, "/metrics")

    assert status == 200
    lines = text.splitlines()
    for line in (
        'flowstone_attempts_total{kind="asset",name="p.one",outcome="ok"} 1.0',
        'flowstone_attempts_total{kind="job",name="p.mail",outcome="ok"} 1.0',
        'flowstone_attempts_total{kind="job",name="p.mail",outcome="failed"} 1.0',
        'flowstone_attempt_seconds_count{kind="job",name="p.mail"} 2.0',
    ):
        assert line in lines
    assert not app.telemetry.enabled("job")  # type: ignore[attr-defined]  # the default emitter's


async def test_without_the_extra_metrics_say_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    async with FlowStone(pipeline()) as app:
        with counting(app) as metrics, answering(app, HOST, 0, metrics) as port:
            status, text = ask(port, "/metrics")

    assert (status, text) == (501, "metrics needs: pip install 'flowstone[metrics]'\n")


async def test_another_path_lists_those_that_there_are() -> None:
    async with FlowStone(pipeline()) as app:
        with answering(app, HOST, 0, None) as port:
            status, text = ask(port, "/")

    assert (status, "/health" in text) == (404, True)


async def test_a_taken_port_is_told() -> None:
    async with FlowStone(pipeline()) as app:
        with (
            answering(app, HOST, 0, None) as port,
            pytest.raises(
                InvalidOptionError, match=f"--http {HOST}:{port}: Address already in use"
            ),
            answering(app, HOST, port, None),
        ):
            pass


def test_a_worker_answers_where_it_was_told_to(durable: Path) -> None:
    port = free_port()
    with Process("worker", "--http", f":{port}") as worker:
        worker.says(rf"answers http://127.0.0.1:{port}/health")
        status, text = ask(port, "/health")
        worker.signal(signal.SIGTERM)
        ended = worker.ends()

    assert (status, ended.exit_code) == (200, 0)
    assert {it["check"] for it in json.loads(text)["findings"]} >= {"database", "listener"}


@pytest.mark.parametrize("address", ["8080", ":0", "host:", ":70000"])
def test_what_is_no_address_is_refused(durable: Path, address: str) -> None:
    refused = flowstone("worker", "--http", address)

    assert refused.exit_code == 2
    assert "is no address; write such as :8080" in refused.stderr
