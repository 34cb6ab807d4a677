"""
Tokens that a URL can carry: ``base.unixseconds.signature``.

The base is the gate's own token and may hold any character, dots too: it ends where the last two
dots begin. The signature is the HMAC-SHA256 of ``base.unixseconds`` in URL-safe base64 without
padding. Of several secrets the first one signs and all of them verify, so that one can be replaced
while tokens that it signed are on their way.
"""

import base64
import hashlib
import hmac
import os
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from flowstone.core.errors import InvalidOptionError
from flowstone.plugins.signal_gate.errors import (
    ForgedTokenError,
    MalformedTokenError,
    TokenExpiredError,
)

MOST_BYTES = 2048
"""Of a gate's own token, as UTF-8: URLs of 8 kB pass everywhere, and each byte may take three."""

NEVER = datetime(2100, 1, 1, tzinfo=UTC)
"""The expiry of tokens whose gates wait for ever."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_STAMP = re.compile(r"[0-9]{1,12}", re.ASCII)


def new_token() -> str:
    """Return a token that nobody can guess: 16 random bytes, in characters that URLs allow."""
    return _text(os.urandom(16))


def checked_token(token: object) -> str:
    """
    Return a gate's token.

    Raises:
        InvalidOptionError: It is no text, empty, too long, or not storable.
    """
    try:
        size = len(token.encode()) if isinstance(token, str) else 0
    except UnicodeEncodeError:
        size = 0
    if not isinstance(token, str) or not 0 < size <= MOST_BYTES or "\0" in token:
        shown = repr(token)[:80]
        raise InvalidOptionError(
            f"token={shown} must be a text of 1 to {MOST_BYTES} bytes of UTF-8 without NUL"
        )
    return token


def token_hash(token: str) -> str:
    """Return what identifies a token in an index: 32 hexadecimal digits of its SHA-256."""
    return hashlib.sha256(token.encode()).hexdigest()[:32]


def sign(token: str, expires_at: datetime, secret: bytes) -> str:
    """Return the token as a URL carries it; the expiry is cut to seconds."""
    # Not by way of timestamp(): a float rounds the last microseconds of a far second up.
    signed = f"{token}.{(expires_at - _EPOCH) // timedelta(seconds=1)}"
    return f"{signed}.{_signature(signed, secret)}"


def verify(signed: str, secrets: Sequence[bytes], now: datetime) -> tuple[str, datetime]:
    """
    Return the token that was signed with one of the secrets, and when it expires.

    Raises:
        MalformedTokenError: It does not consist of three parts.
        ForgedTokenError: None of the secrets has signed it.
        TokenExpiredError: It was signed for a time that is over.
    """
    content, _, signature = signed.rpartition(".")
    token, _, stamp = content.rpartition(".")
    if not (token and stamp and signature) or signed.count(".") < 2:
        raise MalformedTokenError
    try:
        given = signature.encode()
        expected = [_signature(content, secret).encode() for secret in secrets]
    except UnicodeEncodeError:
        raise MalformedTokenError from None
    # All of them, whichever fits: how long it takes says nothing.
    if not sum([hmac.compare_digest(given, it) for it in expected]):
        raise ForgedTokenError
    if not _STAMP.fullmatch(stamp):
        raise MalformedTokenError
    expires_at = datetime.fromtimestamp(int(stamp), UTC)
    if now > expires_at:
        raise TokenExpiredError(expires_at)
    return token, expires_at


def _signature(content: str, secret: bytes) -> str:
    return _text(hmac.digest(secret, content.encode(), "sha256"))


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
