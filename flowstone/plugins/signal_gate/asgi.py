"""
Signals over HTTP: ``POST /signals/{token}`` with the payload as JSON, as a plain ASGI application.

::

    signals = signals_app(app)          # uvicorn module:signals, or mounted in another application

=====  =======================  ====================================================================
202    ``accepted``             The first signal, one that came early, or the same once more
400    ``malformed_payload``    The body is not JSON
403    ``invalid_token``        The token is malformed, cut, or signed by somebody else
404    ``not_found``            Another path
405    ``method_not_allowed``   Another method
409    ``already_signaled``     Another payload came before
410    ``expired``, ``cancelled``  Too late: the URL, the gate, or what waited at it
413    ``too_large``            The body is larger than ``max_body``
422    ``payload_refused``      The payload is not what ``on_signal`` takes
503    ``unavailable``          The database does not answer; to be tried again
=====  =======================  ====================================================================

All but 202 have changed nothing. The body of a request whose token is refused is not read.
"""

import json
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol, TypeAlias

from flowstone.core.contracts.host import Host
from flowstone.core.errors import (
    DatabaseError,
    FlowStoneError,
    InvalidOptionError,
    ValueNotReadableError,
    ValueNotStorableError,
)
from flowstone.core.json_value import JsonValue
from flowstone.plugins.signal_gate.callbacks import Callbacks
from flowstone.plugins.signal_gate.errors import (
    AlreadySignaledError,
    GateCancelledError,
    GateExpiredError,
    PayloadRefusedError,
    SecretMissingError,
    TokenError,
    TokenExpiredError,
)
from flowstone.plugins.signal_gate.signaling import signal_text

logger = logging.getLogger("flowstone.signals")

# Any: what servers and applications hand each other is said by the ASGI specification.
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

MAX_BODY = 256 * 1024
KEPT_HEADERS = ("user-agent", "x-request-id")
"""What is kept of a sender beside its address; others may hold what nobody should read later."""

_ACCEPTED = (202, "accepted")
_REFUSALS: tuple[tuple[type[FlowStoneError], int, str], ...] = (
    (TokenExpiredError, 410, "expired"),
    (TokenError, 403, "invalid_token"),
    (AlreadySignaledError, 409, "already_signaled"),
    (GateExpiredError, 410, "expired"),
    (GateCancelledError, 410, "cancelled"),
    (PayloadRefusedError, 422, "payload_refused"),
    (ValueNotReadableError, 400, "malformed_payload"),
    (ValueNotStorableError, 400, "malformed_payload"),
    (InvalidOptionError, 403, "invalid_token"),
    (DatabaseError, 503, "unavailable"),
)


class Lifespan(Host, Protocol):
    """An application that can be opened and closed."""

    async def open(self) -> object:
        """Connect."""

    async def close(self) -> None:
        """Give everything back."""


class Refused(Exception):
    """A request that gets an answer before anything else is looked at."""

    def __init__(self, status: int, code: str, *headers: tuple[bytes, bytes]) -> None:
        super().__init__(code)
        self.status, self.code, self.headers = status, code, headers


class SignalsApp:
    """
    The ASGI application; see `signals_app`.

    Where a server runs it alone it opens and closes the application with the server's lifespan.
    Mounted in another, which gets the lifespan itself, it is that one's to do.
    """

    def __init__(self, app: Lifespan, *, max_body: int = MAX_BODY) -> None:
        self._app = app
        self._max_body = max_body

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one request, or one lifetime."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1000})

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self._app.open()
        except Exception as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._app.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _answer(self, scope: Message, receive: Receive, send: Send) -> None:
        headers: tuple[tuple[bytes, bytes], ...] = ()
        detail = ""
        try:
            await self._signal(scope, receive)
            status, code = _ACCEPTED
        except Refused as refused:
            status, code, headers = refused.status, refused.code, refused.headers
        except FlowStoneError as error:
            status, code = _refusal_of(error)
            if isinstance(error, PayloadRefusedError):
                detail = error.why
            if status == 503:
                logger.warning("A signal cannot be taken now: %s", error)
                headers = ((b"retry-after", b"5"),)
        except Exception:
            logger.exception("A signal could not be taken")
            status, code = 500, "internal_error"
        answer = {"status": code} if status == 202 else {"error": code}
        body = json.dumps({**answer, "detail": detail} if detail else answer).encode()
        head = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
            *headers,
        ]
        await send({"type": "http.response.start", "status": status, "headers": head})
        await send({"type": "http.response.body", "body": body})

    async def _signal(self, scope: Message, receive: Receive) -> None:
        callbacks = self._app.resources.get(Callbacks)
        signed = _signed_token(scope, callbacks.path)
        if scope["method"] != "POST":
            raise Refused(405, "method_not_allowed", (b"allow", b"POST"))
        token = callbacks.token_of(signed)
        payload = _text(await self._body(scope, receive))
        await signal_text(self._app, token, payload, sender=_sender(scope))

    async def _body(self, scope: Message, receive: Receive) -> bytes:
        declared = _header(scope, b"content-length")
        if declared.isdigit() and int(declared) > self._max_body:
            raise Refused(413, "too_large", (b"connection", b"close"))
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Refused(400, "malformed_payload")
            body += message.get("body", b"")
            if len(body) > self._max_body:
                raise Refused(413, "too_large", (b"connection", b"close"))
            if not message.get("more_body", False):
                return bytes(body)


def signals_app(app: Lifespan, *, max_body: int = MAX_BODY) -> SignalsApp:
    """
    Return an ASGI application that takes signals for an application's gates.

    Args:
        app: Opened by the server's lifespan, or, where this is mounted in another application, by
            that one.
        max_body: The most bytes that a payload may have.

    Raises:
        InvalidOptionError: ``max_body`` is not a positive number.
    """
    if isinstance(max_body, bool) or not isinstance(max_body, int) or max_body < 1:
        raise InvalidOptionError(f"max_body={max_body!r} must be a number of bytes")
    return SignalsApp(app, max_body=max_body)


def _signed_token(scope: Message, path: str) -> str:
    """Return what comes after the path, wherever the application is mounted."""
    asked: str = scope["path"]
    prefix = f"{path}/"
    # Servers differ in whether what it is mounted at is in the path, and it may begin like ours.
    for it in (asked.removeprefix(scope.get("root_path", "")), asked):
        if it.startswith(prefix) and it != prefix:
            return it.removeprefix(prefix)
    raise Refused(404, "not_found")


def _text(body: bytes) -> str:
    """Return what is to be JSON; nothing is null."""
    try:
        return body.decode() or "null"
    except UnicodeDecodeError:
        raise Refused(400, "malformed_payload") from None


def _sender(scope: Message) -> JsonValue:
    client = scope.get("client")
    headers: dict[str, JsonValue] = {}
    for name in KEPT_HEADERS:
        value = _header(scope, name.encode())
        if value:
            headers[name] = value[:200]
    return {"ip": client[0] if client else None, "headers": headers}


def _header(scope: Message, name: bytes) -> str:
    found = (value for key, value in scope["headers"] if key == name)
    value: bytes = next(found, b"")
    return value.decode("latin-1")


def _refusal_of(error: FlowStoneError) -> tuple[int, str]:
    for kind, status, code in _REFUSALS:
        if isinstance(error, kind):
            return status, code
    if isinstance(error, SecretMissingError):
        logger.error("%s", error)
    else:
        logger.exception("A signal could not be taken")
    return 500, "internal_error"
