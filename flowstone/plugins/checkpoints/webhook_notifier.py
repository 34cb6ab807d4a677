"""
Approvals over HTTP: a signed POST for each notice.

::

    POST /approvals
    Content-Type: application/json
    FlowStone-Delivery: 42                       the same when it is sent again
    FlowStone-Timestamp: 1736899200
    FlowStone-Signature: v1=5f8c…                hex of HMAC-SHA256 over "<timestamp>.<body>"

Any status from 200 to 299 means that it was taken; everything else, redirects included, is sent
again later. `verify` checks such a request where it arrives.
"""

import asyncio
import hashlib
import hmac
import http.client
import json
import ssl
import time
from datetime import datetime
from typing import ClassVar
from urllib.parse import urlsplit

from flowstone.core import duration
from flowstone.core.errors import FlowStoneError, InvalidOptionError
from flowstone.plugins.checkpoints.notifier import Notifier
from flowstone.plugins.checkpoints.records import Approval, Notice

SHORTEST_SECRET = 16
MOST_OF_ANSWER = 200


class WebhookError(FlowStoneError):
    """The other end did not take a notice."""

    code = "webhook_error"
    retryable = True


class WebhookNotifier(Notifier):
    """
    Posts each notice to a URL.

    Args:
        url: ``https://…``, or ``http://`` for what is near.
        secret: What the signature is made with; 16 characters at least.
        timeout: How long the other end may take.
        name: What rows call it; the URL without its query, unless said.

    Raises:
        InvalidOptionError: The URL or the secret is none.
    """

    contract_version: ClassVar[str] = "1.0.0"

    def __init__(
        self, url: str, *, secret: str, timeout: str | float = "10s", name: str | None = None
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InvalidOptionError(f"url={url!r} must be a URL: https://example.org/approvals")
        if not isinstance(secret, str) or len(secret) < SHORTEST_SECRET:
            raise InvalidOptionError(
                f"secret= must have {SHORTEST_SECRET} characters at least; "
                "`python -c 'import secrets; print(secrets.token_urlsafe())'` makes one"
            )
        self._parts = parts
        self._secret = secret.encode()
        self._seconds = duration.parse(timeout, option="timeout").total_seconds()
        self._name = name or f"{parts.scheme}://{parts.hostname}{parts.path}"

    @property
    def name(self) -> str:
        return self._name

    async def notify(self, notice: Notice) -> None:
        body = json.dumps(document_of(notice), ensure_ascii=False).encode()
        timestamp = str(int(time.time()))
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "FlowStone",
            "FlowStone-Delivery": str(notice.id),
            "FlowStone-Timestamp": timestamp,
            "FlowStone-Signature": signature(self._secret, timestamp, body),
        }
        try:
            status, answer = await asyncio.to_thread(self._post, body, headers)
        except (OSError, http.client.HTTPException) as error:
            raise WebhookError(f"{self.name}: {type(error).__name__}: {error}") from error
        if not http.HTTPStatus.OK <= status < http.HTTPStatus.MULTIPLE_CHOICES:
            raise WebhookError(f"{self.name} answered {status}: {answer}")

    def _post(self, body: bytes, headers: dict[str, str]) -> tuple[int, str]:
        """Send it; a socket that does not answer in time raises, so that the thread ends."""
        host, port = self._parts.hostname or "", self._parts.port
        connection: http.client.HTTPConnection
        if self._parts.scheme == "https":
            context = ssl.create_default_context()
            connection = http.client.HTTPSConnection(
                host, port, timeout=self._seconds, context=context
            )
        else:
            connection = http.client.HTTPConnection(host, port, timeout=self._seconds)
        try:
            query = f"?{self._parts.query}" if self._parts.query else ""
            connection.request("POST", (self._parts.path or "/") + query, body, headers)
            response = connection.getresponse()
            return response.status, response.read(MOST_OF_ANSWER).decode(errors="replace")
        finally:
            connection.close()


def signature(secret: bytes, timestamp: str, body: bytes) -> str:
    """Return the header's text."""
    return "v1=" + hmac.new(secret, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def verify(
    secret: str, timestamp: str, body: bytes, given: str, *, tolerance_seconds: float = 300
) -> bool:
    """
    Return whether a request is one of ours and young; compares in constant time.

    Args:
        timestamp: The header ``FlowStone-Timestamp``.
        body: As it came, not parsed and written again.
        given: The header ``FlowStone-Signature``.
        tolerance_seconds: How old it may be, or how far the clocks may differ.
    """
    expected = signature(secret.encode(), timestamp, body)
    if not hmac.compare_digest(expected.encode(), given.encode()):
        return False
    # What is signed is ours, and so a number.
    return abs(time.time() - int(timestamp)) <= tolerance_seconds


def document_of(notice: Notice) -> dict[str, object]:
    """Return what is posted; JSON-safe."""
    return {"event": notice.event.value, "approval": approval_document(notice.approval)}


def approval_document(approval: Approval) -> dict[str, object]:
    """Return an approval for machines; JSON-safe."""
    decided = approval.decided_value
    return {
        "id": approval.id,
        "run_id": approval.run_id,
        "asset": approval.asset,
        "partition": approval.partition,
        "status": approval.status.value,
        "message": approval.message,
        "value": json.loads(approval.value),
        "decided_value": None if decided is None else json.loads(decided),
        "approvers": list(approval.approvers),
        "requested_at": _text(approval.requested_at),
        "deadline_at": _text(approval.deadline_at),
        "escalation_count": approval.escalation_count,
        "escalated_by": approval.escalated_by,
        "escalated_at": _text(approval.escalated_at),
        "decided_by": approval.decided_by,
        "decided_at": _text(approval.decided_at),
        "reason": approval.reason,
    }


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
