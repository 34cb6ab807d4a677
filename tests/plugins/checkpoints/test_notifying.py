"""Those who are told of approvals: in time, until they have taken it, and never in the way."""

import asyncio
import json
import logging
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest

from flowstone import FlowStone, RunWaiting
from flowstone.core.errors import InvalidOptionError, RegistrationError
from flowstone.plugins.checkpoints import (
    ApprovalEvent,
    ApprovalStatus,
    CheckpointCoordinator,
    CheckpointsPlugin,
    LogNotifier,
    Notice,
    Notifier,
    WebhookError,
    WebhookNotifier,
    approve,
    list_approvals,
    verify,
)
from flowstone.plugins.checkpoints.notifying import MOST_ATTEMPTS, Notifying
from flowstone.plugins.checkpoints.webhook_notifier import signature
from flowstone.testing.contracts.notifier_contract import NotifierContract, notice
from flowstone.testing.contracts.service_contract import ServiceContract
from tests.application.conftest import AppOf
from tests.application.stage import Heard, Stage, eventually
from tests.plugins.checkpoints.desk import Desk
from tests.ports import free_port

SECRET = "a secret of enough length"


class Recording(Notifier):
    """Takes everything, or nothing for as long as it is away."""

    def __init__(self) -> None:
        self.heard: list[Notice] = []
        self.is_away = False

    async def notify(self, notice: Notice) -> None:
        self.heard.append(notice)
        if self.is_away:
            raise ConnectionError("nobody there")

    @property
    def events(self) -> list[ApprovalEvent]:
        return [it.event for it in self.heard]


@asynccontextmanager
async def telling(app: FlowStone, *notifiers: Notifier) -> AsyncIterator[None]:
    """Let the service run meanwhile, as it does on one of all workers."""
    serving = asyncio.create_task(Notifying(notifiers).run(app))  # type: ignore[arg-type]  # a host
    try:
        yield
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


async def asked(app: FlowStone, desk: Desk) -> int:
    with pytest.raises(RunWaiting):
        await app.run(desk.booked)
    (found,) = await list_approvals(app)
    return found.id


async def nothing_is_to_be_told(app: FlowStone) -> bool:
    return await app.coordinator(CheckpointCoordinator).next_notice() is None


class TestService(ServiceContract):
    plugin: ClassVar[Any] = CheckpointsPlugin([])

    @pytest.fixture
    def service(self) -> Notifying:
        return Notifying([Recording()])


class TestTelling:
    async def test_each_step_is_told_once(self, app_of: AppOf) -> None:
        desk, notifier = Desk(), Recording()
        app = await app_of(desk.pipeline)

        async with telling(app, notifier):
            id_ = await asked(app, desk)
            await approve(app, id_, by="ann")
            await eventually(lambda: len(notifier.heard) == 2)
            await eventually(lambda: nothing_is_to_be_told(app))  # not before it is settled

        assert notifier.events == [ApprovalEvent.REQUESTED, ApprovalEvent.APPROVED]
        assert notifier.heard[1].approval.decided_by == "ann"

    async def test_a_worker_tells_the_notifiers_of_the_plugin(self, app_of: AppOf) -> None:
        desk, notifier = Desk(), Recording()
        app = await app_of(desk.pipeline, plugins=[CheckpointsPlugin([notifier])])
        worker = app.worker()
        working = asyncio.create_task(worker.run())

        await app.enqueue(desk.booked)
        await eventually(lambda: notifier.events == [ApprovalEvent.REQUESTED])

        worker.stop()
        await working

    async def test_what_was_not_taken_is_told_again_and_to_nobody_twice(
        self, app_of: AppOf, stage: Stage
    ) -> None:
        desk, other, away = Desk(), _Other(), Recording()
        away.is_away = True
        app = await app_of(desk.pipeline)
        heard = Heard(app)

        async with telling(app, other, away):
            await asked(app, desk)
            await eventually(lambda: "approval.notify.exception" in heard.names)
            away.is_away = False
            await stage.advance("6s")
            await eventually(lambda: len(away.heard) == 2)

        first, again = away.heard
        assert (first.id, first.attempt, again.attempt) == (again.id, 1, 2)
        assert other.events == [ApprovalEvent.REQUESTED]

    async def test_nobody_waits_for_a_notifier_to_decide(self, app_of: AppOf) -> None:
        class Stuck(Recording):
            async def notify(self, notice: Notice) -> None:
                await super().notify(notice)
                await asyncio.Event().wait()

        desk, stuck = Desk(), Stuck()
        app = await app_of(desk.pipeline)

        async with telling(app, stuck):
            id_ = await asked(app, desk)
            await eventually(lambda: stuck.heard)

            assert (await approve(app, id_, by="ann")).status is ApprovalStatus.APPROVED

    async def test_it_is_given_up_some_time(self, app_of: AppOf, stage: Stage) -> None:
        desk, away = Desk(), Recording()
        away.is_away = True
        app = await app_of(desk.pipeline)
        await asked(app, desk)
        approvals = app.coordinator(CheckpointCoordinator)
        for _ in range(MOST_ATTEMPTS - 1):
            await approvals.take_notices()
            await stage.advance("1h")

        async with telling(app, away):
            await eventually(lambda: away.heard)
            await eventually(lambda: nothing_is_to_be_told(app))

    async def test_reminders_are_told_in_time(self, app_of: AppOf, stage: Stage) -> None:
        desk, notifier = Desk(timeout="2d", reminders=["1d", "1h"]), Recording()
        app = await app_of(desk.pipeline)
        heard = Heard(app)

        async with telling(app, notifier):
            await asked(app, desk)
            await eventually(lambda: notifier.heard)
            for hours in ("25h", "22h"):
                await stage.advance(hours)
                known = len(notifier.heard)
                await eventually(lambda known=known: len(notifier.heard) > known)

        assert notifier.events == [
            ApprovalEvent.REQUESTED,
            ApprovalEvent.REMINDER,
            ApprovalEvent.REMINDER,
        ]
        assert heard.names.count("approval.reminder") == 2


class _Other(Recording):
    pass


class TestPlugin:
    def test_two_notifiers_need_two_names(self) -> None:
        with pytest.raises(RegistrationError, match="two notifiers have the same name: Recording"):
            CheckpointsPlugin([Recording(), Recording()])

    def test_something_else_is_refused(self) -> None:
        with pytest.raises(RegistrationError, match="is no Notifier"):
            CheckpointsPlugin([print])  # type: ignore[list-item]  # that is the test


class TestLog(NotifierContract):
    @pytest.fixture
    async def notifier(self) -> Notifier:
        return LogNotifier()

    async def test_a_line_says_all(
        self, notifier: Notifier, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, "flowstone.approvals")

        await notifier.notify(notice(ApprovalEvent.REQUESTED))
        await notifier.notify(notice(ApprovalEvent.REJECTED, reason="nope"))

        assert caplog.messages == [
            "approval 7 of desk.trade[d:2030-01-01], run 3: requested, for risk: large",
            "approval 7 of desk.trade[d:2030-01-01], run 3: rejected by ann: nope",
        ]


class Receiver:
    """The other end of a webhook, on loopback."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.status = 204
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.requests.append((self.path, dict(self.headers), body))
                self.send_response(receiver.status)
                self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/approvals?team=desk"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    serving = threading.Thread(target=receiver.server.serve_forever, kwargs={"poll_interval": 0.01})
    serving.start()
    yield receiver
    receiver.server.shutdown()
    receiver.server.server_close()
    serving.join()


class TestWebhook(NotifierContract):
    @pytest.fixture
    async def notifier(self, receiver: Receiver) -> Notifier:
        return WebhookNotifier(receiver.url, secret=SECRET)

    async def test_what_arrives_is_signed_and_says_all(
        self, notifier: Notifier, receiver: Receiver
    ) -> None:
        await notifier.notify(notice(ApprovalEvent.MODIFIED))

        ((path, headers, body),) = receiver.requests
        assert path == "/approvals?team=desk"
        assert headers["FlowStone-Delivery"] == "42"
        stamp, signed = headers["FlowStone-Timestamp"], headers["FlowStone-Signature"]
        assert verify(SECRET, stamp, body, signed)
        document = json.loads(body)
        assert document["event"] == "modified"
        assert document["approval"]["value"] == {"total": 7}
        assert document["approval"]["decided_value"] == {"total": 5}
        assert document["approval"]["deadline_at"] == "2030-01-03T12:00:00+00:00"

    @pytest.mark.parametrize("status", [301, 400, 500])
    async def test_any_other_answer_is_not_taken(
        self, notifier: Notifier, receiver: Receiver, status: int
    ) -> None:
        receiver.status = status

        with pytest.raises(WebhookError, match=f"answered {status}"):
            await notifier.notify(notice(ApprovalEvent.REQUESTED))
        assert len(receiver.requests) == 1

    async def test_nobody_there_is_not_taken(self) -> None:
        url = f"http://127.0.0.1:{free_port()}/approvals"
        away = WebhookNotifier(url, secret=SECRET)

        with pytest.raises(WebhookError, match="ConnectionRefusedError"):
            await away.notify(notice(ApprovalEvent.REQUESTED))

    def test_its_name_has_no_secret_of_the_query(self) -> None:
        url = "https://example.org/hook?token=t"

        assert WebhookNotifier(url, secret=SECRET).name == "https://example.org/hook"
        assert WebhookNotifier(url, secret=SECRET, name="desk").name == "desk"

    async def test_nobody_who_answers_is_not_waited_for_long(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"http://127.0.0.1:{silent.getsockname()[1]}"
            webhook = WebhookNotifier(url, secret=SECRET, timeout="50ms")

            with pytest.raises(WebhookError, match="timed out"):
                await asyncio.wait_for(webhook.notify(notice(ApprovalEvent.REQUESTED)), 60)

    @pytest.mark.parametrize(
        ("url", "secret"),
        [
            ("example.org", SECRET),
            ("ftp://example.org", SECRET),
            ("https://", SECRET),
            ("https://example.org", "short"),
        ],
    )
    def test_what_cannot_work_is_refused(self, url: str, secret: str) -> None:
        with pytest.raises(InvalidOptionError):
            WebhookNotifier(url, secret=secret)


class TestSignature:
    NOW: ClassVar[str] = "1900000000"

    @pytest.fixture(autouse=True)
    def clock(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("time.time", lambda: float(self.NOW))

    def test_ours_is_recognized(self) -> None:
        signed = signature(SECRET.encode(), self.NOW, b"{}")

        assert verify(SECRET, self.NOW, b"{}", signed)

    @pytest.mark.parametrize(
        ("secret", "stamp", "body", "given"),
        [
            ("another secret", NOW, b"{}", None),
            (SECRET, "1900000001", b"{}", None),
            (SECRET, NOW, b"{ }", None),
            (SECRET, NOW, b"{}", "v1="),
            (SECRET, NOW, b"{}", "v1=ö"),
            (SECRET, "soon", b"{}", None),
        ],
    )
    def test_anything_else_is_not(
        self, secret: str, stamp: str, body: bytes, given: str | None
    ) -> None:
        signed = given or signature(SECRET.encode(), self.NOW, b"{}")

        assert not verify(secret, stamp, body, signed)

    def test_an_old_one_is_not(self) -> None:
        stamp = str(int(self.NOW) - 301)
        signed = signature(SECRET.encode(), stamp, b"{}")

        assert not verify(SECRET, stamp, b"{}", signed)
        assert verify(SECRET, stamp, b"{}", signed, tolerance_seconds=301)
