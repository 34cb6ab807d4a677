"""Signals over HTTP: each refusal has its code and changes nothing."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from typing import Any, TypeAlias

import pytest
import uvicorn

from flowstone import FlowStone
from flowstone.core.errors import DatabaseUnreachableError, InvalidOptionError
from flowstone.plugins.signal_gate import (
    Callbacks,
    GateCoordinator,
    SignalGates,
    signal,
    signals_app,
)
from flowstone.plugins.signal_gate.asgi import SignalsApp
from flowstone.plugins.signal_gate.token import sign
from tests.application.conftest import AppOf
from tests.application.stage import Stage, drain, eventually
from tests.plugins.signal_gate.gated import SECRET, Done, Story, begun, gated, the_gate

Answer: TypeAlias = tuple[int, Mapping[str, str], Mapping[str, Any]]

DONE = json.dumps({"pages": 3, "words": []}).encode()


async def ask(
    asgi: Callable[..., Awaitable[None]],
    path: str,
    body: bytes = DONE,
    *,
    method: str = "POST",
    pieces: int = 1,
    root: str = "",
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Send one request to an ASGI application, as a server would."""
    size = -(-len(body) // pieces) or 1
    parts = [body[at : at + size] for at in range(0, len(body), size)] or [b""]
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "root_path": root,
        "headers": [(k.encode(), v.encode()) for k, v in (headers or {}).items()],
        "client": ("192.0.2.1", 4711),
    }
    sent: list[Any] = []

    async def receive() -> Any:
        part = parts.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(parts)}

    async def send(message: Any) -> None:
        sent.append(message)

    await asgi(scope, receive, send)
    start, end = sent
    found = {k.decode(): v.decode() for k, v in start["headers"]}
    assert found["content-length"] == str(len(end["body"]))
    return start["status"], found, json.loads(end["body"])


class Site:
    """An application whose gate waits, and its signals over HTTP."""

    def __init__(self, app: FlowStone, story: Story) -> None:
        self.app, self.story = app, story
        self.asgi = signals_app(app, max_body=1000)
        self.callbacks = app.resources.get(Callbacks)

    def path(self, token: str = "task") -> str:
        return f"/signals/{self.callbacks.signed(token)}"

    async def post(self, path: str | None = None, body: bytes = DONE, **given: Any) -> Answer:
        return await ask(self.asgi, path or self.path(), body, **given)


@pytest.fixture
async def site(app_of: AppOf) -> Site:
    story = Story()
    app = await app_of(gated(story), plugins=[SignalGates(secrets=[SECRET])])
    await begun(app)
    return Site(app, story)


async def test_a_signal_is_accepted_once_and_answered_the_same_again(site: Site) -> None:
    answers = [await site.post(headers={"user-agent": "ecs/1"}) for _ in range(2)]
    await drain(site.app)
    answers.append(await site.post())

    assert [(status, body) for status, _, body in answers] == [(202, {"status": "accepted"})] * 3
    assert answers[0][1]["cache-control"] == "no-store"
    assert site.story.payloads == [Done(3)]
    gate = await the_gate(site.app)
    assert json.loads(gate.sender or "") == {"ip": "192.0.2.1", "headers": {"user-agent": "ecs/1"}}


async def test_a_signal_before_its_gate_is_accepted_in_the_same_words(site: Site) -> None:
    status, _, body = await site.post(site.path("not yet/ü.?"))

    assert (status, body) == (202, {"status": "accepted"})
    gates = site.app.coordinator(GateCoordinator)
    assert await gates.find("not yet/ü.?") is None
    assert (await signal(site.app, "not yet/ü.?", Done(3))).answer == "kept"


def wrong_tokens() -> Iterator[Any]:
    right = sign("task", datetime(2100, 1, 1, tzinfo=UTC), SECRET.encode())
    past = sign("task", datetime(2020, 1, 1, tzinfo=UTC), SECRET.encode())
    foreign = sign("task", datetime(2100, 1, 1, tzinfo=UTC), b"f" * 32)
    yield pytest.param("task", 403, "invalid_token", id="unsigned")
    yield pytest.param(right[:-1], 403, "invalid_token", id="truncated")
    yield pytest.param(right + "A", 403, "invalid_token", id="lengthened")
    yield pytest.param(right.replace("task", "tusk"), 403, "invalid_token", id="forged")
    yield pytest.param(right.replace(".4", ".5"), 403, "invalid_token", id="prolonged")
    yield pytest.param(foreign, 403, "invalid_token", id="foreign")
    yield pytest.param(past, 410, "expired", id="expired")
    yield pytest.param("\ud800.1.x", 403, "invalid_token", id="no text")
    yield pytest.param("invalid.token.sig", 403, "invalid_token", id="nonsense")


@pytest.mark.conformance(358)
@pytest.mark.parametrize(("signed", "status", "code"), [*wrong_tokens()])
async def test_a_wrong_token_is_refused_before_the_body_is_read(
    site: Site, signed: str, status: int, code: str
) -> None:
    read = False

    async def receive() -> Any:
        nonlocal read
        read = True
        return {"type": "http.request", "body": DONE}

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": f"/signals/{signed}", "headers": []}
    await site.asgi(scope, receive, send)

    assert (sent[0]["status"], json.loads(sent[1]["body"])) == (status, {"error": code})
    assert not read
    assert (await the_gate(site.app)).is_open


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "malformed_payload"),
        (b"\xff", 400, "malformed_payload"),
        (b"NaN", 400, "malformed_payload"),
        (b'{"pages": 1, "words": ["\\u0000"]}', 400, "malformed_payload"),
        (b"[" * 400 + b"]" * 400, 400, "malformed_payload"),
        (b'{"pages": "many"}', 422, "payload_refused"),
        (b"", 422, "payload_refused"),
        (b'{"pages": 1, "words": ["' + b"x" * 1000 + b'"]}', 413, "too_large"),
    ],
    ids=["cut", "no text", "no number", "zero", "deep", "type", "empty", "large"],
)
@pytest.mark.parametrize("pieces", [1, 3])
async def test_a_wrong_payload_is_refused(
    site: Site, body: bytes, status: int, code: str, pieces: int
) -> None:
    answered, _, said = await site.post(body=body, pieces=pieces)

    assert (answered, said["error"]) == (status, code)
    gate = await the_gate(site.app)
    assert (gate.is_open, gate.payload) == (True, None)
    assert (await site.post())[0] == 202


async def test_what_is_wrong_with_a_payload_is_told(site: Site) -> None:
    _, _, said = await site.post(body=b'{"pages": "many"}')

    assert said["detail"].startswith("at $.pages:")


async def test_one_that_says_it_is_too_large_is_not_read(site: Site) -> None:
    status, headers, _ = await site.post(body=b"{", headers={"content-length": "1001"})

    assert (status, headers["connection"]) == (413, "close")


async def test_another_payload_after_the_first_is_a_conflict(site: Site) -> None:
    await site.post()

    status, _, said = await site.post(body=b'{"pages": 4}')

    assert (status, said) == (409, {"error": "already_signaled"})
    gate = await the_gate(site.app)
    assert json.loads(gate.payload or "") == json.loads(DONE)


async def test_one_that_is_late_is_gone(site: Site, stage: Stage) -> None:
    await stage.advance(timedelta(hours=2))

    assert (await site.post())[::2] == (410, {"error": "expired"})
    await drain(site.app)
    assert (await site.post())[::2] == (410, {"error": "expired"})


async def test_one_whose_run_was_cancelled_is_gone(site: Site) -> None:
    (run,) = await site.app.store.runs(limit=1)
    await site.app.handle(run.run_id).cancel()

    assert (await site.post())[::2] == (410, {"error": "cancelled"})


async def test_other_paths_and_methods_are_told_so(site: Site) -> None:
    assert (await site.post("/"))[0] == 404
    assert (await site.post("/signals/"))[0] == 404
    assert (await site.post("/other/x"))[0] == 404
    status, headers, said = await site.post(method="GET")
    assert (status, headers["allow"], said["error"]) == (405, "POST", "method_not_allowed")


async def test_it_can_be_mounted_anywhere(site: Site) -> None:
    assert (await site.post("/hooks" + site.path(), root="/hooks"))[0] == 202
    # Where a proxy has taken it off the path, and whatever that begins with.
    for root in ("/hooks", "/sig", "/signals"):
        assert (await site.post(site.path(), root=root))[0] == 202
    assert (await site.post("/signals" + site.path(), root="/signals"))[0] == 202


async def test_a_database_that_is_away_is_worth_another_try(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object, **__: object) -> None:
        raise DatabaseUnreachableError("the database cannot be reached")

    monkeypatch.setattr(site.app.coordinator(GateCoordinator), "signal", away)

    status, headers, said = await site.post()

    assert (status, headers["retry-after"], said) == (503, "5", {"error": "unavailable"})


async def test_without_a_secret_nobody_is_let_in(app_of: AppOf) -> None:
    app = await app_of(gated(Story()), plugins=[SignalGates(secrets=[])])

    assert (await ask(signals_app(app), "/signals/a.1.b"))[::2] == (
        500,
        {"error": "internal_error"},
    )


@pytest.mark.parametrize("size", [0, -1, True, "1"])
def test_a_limit_that_is_none_is_refused(size: Any) -> None:
    with pytest.raises(InvalidOptionError, match="max_body"):
        signals_app(FlowStone([]), max_body=size)


@asynccontextmanager
async def serving(asgi: SignalsApp) -> AsyncIterator[int]:
    """Serve over a loopback socket, and give the port."""
    server = uvicorn.Server(uvicorn.Config(asgi, port=0, log_level="error", ws="none"))
    task = asyncio.create_task(server.serve())
    try:
        await eventually(lambda: server.started or task.done())
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await task


def post(port: int, url: str, body: bytes) -> tuple[int, Any]:
    """POST with an ordinary client."""
    with closing(HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request("POST", url, body)
        response = connection.getresponse()
        return response.status, json.loads(response.read())


async def test_a_real_server_opens_the_application_and_takes_signals(stage: Stage) -> None:
    story = Story()
    gates = SignalGates(secrets=[SECRET], path="/hooks")
    app = stage.build(gated(story, token="a/b ü?.%"), plugins=[gates])
    async with serving(signals_app(app, max_body=1000)) as port:
        handle = await begun(app)
        url = app.resources.get(Callbacks).url("a/b ü?.%").removeprefix("http://localhost:8000")

        assert url.startswith("/hooks/")
        large = await asyncio.to_thread(post, port, url, b" " * 1001)
        first = await asyncio.to_thread(post, port, url, DONE)
        again = await asyncio.to_thread(post, port, url, DONE)
        forged = await asyncio.to_thread(post, port, url[:-1], DONE)
        await drain(app)

        assert (large[0], first, again) == (413, (202, {"status": "accepted"}), first)
        assert forged == (403, {"error": "invalid_token"})
        assert await handle.result() == "4 pages"


async def test_a_server_does_not_start_over_a_database_that_is_away() -> None:
    app = FlowStone(gated(Story()), dsn="postgresql://nobody@127.0.0.1:1/none")
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "lifespan.startup"}

    async def send(message: Any) -> None:
        sent.append(message)

    await signals_app(app)({"type": "lifespan"}, receive, send)

    assert sent[0]["type"] == "lifespan.startup.failed"
