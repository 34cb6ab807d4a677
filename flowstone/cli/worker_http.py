"""
What an orchestrator asks a worker over HTTP, answered from a thread of its own.

=========  =====================================================================================
/live      200 while the event loop turns; 503 once it has not for ten seconds: start it anew
/health    200 when all works that the worker needs, else 503; JSON with what mends it
/metrics   Prometheus' text format; needs the extra ``metrics``
=========  =====================================================================================

A body that holds the event loop holds up neither the thread nor its answers.
"""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from flowstone.core.application import FlowStone
from flowstone.core.errors import InvalidOptionError, MissingExtraError
from flowstone.core.health import HealthReport

TICK_SECONDS = 0.5
LIVE_SECONDS = 10.0
"""A loop that has not turned for so long is taken for hung."""

HEALTH_SECONDS = 15.0
"""More than any question of `FlowStone.health` may take."""

Answer = tuple[HTTPStatus, str, bytes]


@contextmanager
def answering(
    app: FlowStone, host: str, port: int, metrics: Callable[[], bytes] | None
) -> Iterator[int]:
    """
    Answer for as long as the block runs, in a running event loop; gives the port.

    Args:
        port: 0 takes a free one.
        metrics: Renders them; None is that they cannot be had here.

    Raises:
        InvalidOptionError: The address cannot be listened on.
    """
    asking = _Asking(app, metrics)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, kind, body = asking.answer(self.path.partition("?")[0])
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Probes come every few seconds; nobody wants to read of them."""

    class Server(ThreadingHTTPServer):
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        daemon_threads = True

    try:
        server = Server((host, port), Handler)
    except OSError as error:
        raise InvalidOptionError(f"--http {host}:{port}: {error.strerror}") from error
    thread = threading.Thread(target=server.serve_forever, name="flowstone-http", daemon=True)
    ticking = asyncio.create_task(asking.tick())
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        ticking.cancel()
        # Not from the loop's own thread while a request may wait for the loop.
        threading.Thread(target=server.shutdown, daemon=True).start()
        server.server_close()


class _Asking:
    """Answers from another thread what the event loop knows."""

    def __init__(self, app: FlowStone, metrics: Callable[[], bytes] | None) -> None:
        self._app = app
        self._metrics = metrics
        self._loop = asyncio.get_running_loop()
        self._ticked = time.monotonic()

    async def tick(self) -> None:
        """Say again and again that the loop turns."""
        while True:
            self._ticked = time.monotonic()
            await asyncio.sleep(TICK_SECONDS)

    def answer(self, path: str) -> Answer:
        match path:
            case "/live":
                return self._live()
            case "/health":
                return self._health()
            case "/metrics":
                return self._rendered()
        return _document(HTTPStatus.NOT_FOUND, {"known": ["/live", "/health", "/metrics"]})

    def _live(self) -> Answer:
        seconds = time.monotonic() - self._ticked
        is_live = seconds < LIVE_SECONDS
        status = HTTPStatus.OK if is_live else HTTPStatus.SERVICE_UNAVAILABLE
        return _document(status, {"live": is_live, "loop_held_seconds": round(seconds, 1)})

    def _health(self) -> Answer:
        asked = asyncio.run_coroutine_threadsafe(self._app.health(), self._loop)
        try:
            report = asked.result(HEALTH_SECONDS)
        except TimeoutError:
            asked.cancel()
            problem = {"ok": False, "problem": "the event loop does not answer"}
            return _document(HTTPStatus.SERVICE_UNAVAILABLE, problem)
        status = HTTPStatus.OK if report.ok else HTTPStatus.SERVICE_UNAVAILABLE
        return _document(status, _described(report))

    def _rendered(self) -> Answer:
        if self._metrics is None:
            missing = MissingExtraError("metrics", "metrics")
            return HTTPStatus.NOT_IMPLEMENTED, "text/plain", f"{missing}\n".encode()
        return HTTPStatus.OK, "text/plain; version=0.0.4; charset=utf-8", self._metrics()


def _described(report: HealthReport) -> dict[str, object]:
    findings = [
        {"check": it.check, "level": it.level.value, "message": it.message, "mend": it.mend}
        for it in report.findings
    ]
    return {"ok": report.ok, "findings": findings}


def _document(status: HTTPStatus, document: dict[str, object]) -> Answer:
    return status, "application/json", json.dumps(document).encode() + b"\n"
