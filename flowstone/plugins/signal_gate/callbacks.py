"""How URLs of gates are made and read: the secrets, and where signals arrive."""

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from flowstone.core import duration
from flowstone.core.contracts.resource import Resource
from flowstone.core.errors import InvalidOptionError
from flowstone.plugins.signal_gate.errors import SecretMissingError
from flowstone.plugins.signal_gate.token import NEVER, checked_token, sign, verify

LEAST_SECRET_BYTES = 32
SECRETS = "FLOWSTONE_SIGNAL_SECRETS"
BASE_URL = "FLOWSTONE_SIGNAL_URL"

GRACE = timedelta(days=30)
"""
How much longer than its gate's last deadline a URL is valid. The gate's row says when it is too
late; the URL's own expiry only bounds for how long a leaked one can be tried.
"""


class Callbacks:
    """
    Makes the URLs that senders are given, and reads the tokens that they come back with.

    Assets can ask for it (``Requires(Callbacks)``), and so can whoever has the application:
    ``app.resources.get(Callbacks)``.

    Args:
        secrets: The first one signs, all of them verify; 32 bytes each at least.
        base_url: What is before ``path`` in the world outside.
        path: Where the ASGI application takes signals.

    Raises:
        InvalidOptionError: A secret is too short, or the path does not begin with a slash.
    """

    def __init__(
        self,
        secrets: Sequence[str | bytes] = (),
        base_url: str = "http://localhost:8000",
        path: str = "/signals",
    ) -> None:
        given = [secrets] if isinstance(secrets, str | bytes) else secrets
        self._secrets = [it.encode() if isinstance(it, str) else bytes(it) for it in given]
        if any(len(it) < LEAST_SECRET_BYTES for it in self._secrets):
            raise InvalidOptionError(
                f"a secret of signal gates must have {LEAST_SECRET_BYTES} bytes at least; make one "
                'with: python -c "import secrets; print(secrets.token_urlsafe(32))"'
            )
        if not path.startswith("/") or path.endswith("/"):
            raise InvalidOptionError(f"path={path!r} must begin with a slash and end without one")
        self.base_url = base_url.rstrip("/")
        self.path = path

    @property
    def has_secret(self) -> bool:
        """Whether tokens can be signed and verified."""
        return bool(self._secrets)

    def url(self, token: str, *, valid_for: timedelta | str | float | None = None) -> str:
        """
        Return the URL to which the signal of a gate's token is to be posted.

        Args:
            valid_for: None is until the year 2100: the gate itself says when it is too late.

        Raises:
            SecretMissingError: There is no secret.
            InvalidOptionError: The token is no text, empty or too long.
        """
        return (
            f"{self.base_url}{self.path}/{quote(self.signed(token, valid_for=valid_for), safe='')}"
        )

    def signed(self, token: str, *, valid_for: timedelta | str | float | None = None) -> str:
        """Return the token as the URL carries it, not yet quoted; raises as `url` does."""
        expires_at = NEVER
        if valid_for is not None:
            expires_at = min(NEVER, _now() + duration.parse(valid_for, option="valid_for"))
        return sign(checked_token(token), expires_at, self._known()[0])

    def token_of(self, signed: str) -> str:
        """
        Return the gate's token that a URL has carried.

        Raises:
            TokenError: It is malformed, forged or expired.
            SecretMissingError: There is no secret.
        """
        token, _ = verify(signed, self._known(), _now())
        return token

    def _known(self) -> Sequence[bytes]:
        if not self._secrets:
            raise SecretMissingError
        return self._secrets


class CallbacksResource(Resource[Callbacks]):
    """Gives every asset of the process the same one."""

    async def setup(self, config: Mapping[str, object]) -> Callbacks:
        """Return the one that the plugin was made with."""
        given = config["callbacks"]
        assert isinstance(given, Callbacks)
        return given


def from_environment(
    secrets: Sequence[str | bytes] | None, base_url: str | None, path: str
) -> Callbacks:
    """Return callbacks with what is given, or else with what the environment says."""
    if secrets is None:
        secrets = os.environ.get(SECRETS, "").split()
    if base_url is None:
        base_url = os.environ.get(BASE_URL, "http://localhost:8000")
    return Callbacks(secrets, base_url, path)


def _now() -> datetime:
    return datetime.now(UTC)
