"""What can be wrong with a gate, its token, or a signal."""

from datetime import datetime

from flowstone.core.errors import FlowStoneError, MaterializationError


class SignalGateError(FlowStoneError):
    """The root of the plugin's errors."""

    code = "signal_gate_error"


class SecretMissingError(SignalGateError):
    """URLs for signals are to be signed or verified, and there is no secret to do it with."""

    code = "signal_secret_missing"

    def __init__(self) -> None:
        super().__init__(
            "URLs of signal gates are signed, and there is no secret. Set FLOWSTONE_SIGNAL_SECRETS "
            "(32 bytes or more, the newest first, others after a space), or write\n  "
            "FlowStone(..., plugins=[SignalGates(secrets=[...])])"
        )


class TokenError(SignalGateError):
    """A token from outside is not one that this application has given out, or not any more."""

    code = "invalid_token"


class MalformedTokenError(TokenError):
    """It does not consist of a token, an expiry and a signature."""

    code = "malformed_token"

    def __init__(self) -> None:
        super().__init__("the token does not read like token.expiry.signature")


class ForgedTokenError(TokenError):
    """None of the secrets has signed it."""

    code = "invalid_signature"

    def __init__(self) -> None:
        super().__init__("the token was not signed with a secret of this application")


class TokenExpiredError(TokenError):
    """
    It was signed for a time that is over.

    Attributes:
        expired_at: When it was.
    """

    code = "expired"

    def __init__(self, expired_at: datetime) -> None:
        self.expired_at = expired_at
        super().__init__(f"the token has expired at {expired_at:%Y-%m-%d %H:%M:%S %Z}")


class SignalRefusedError(SignalGateError):
    """
    A signal was not taken; nothing has changed.

    Attributes:
        token: The gate's token.
    """

    code = "signal_refused"

    def __init__(self, token: str, why: str) -> None:
        self.token = token
        super().__init__(f"the signal for {token!r} is refused: {why}", context={"token": token})


class AlreadySignaledError(SignalRefusedError):
    """Another signal, with another payload, came before it."""

    code = "already_signaled"

    def __init__(self, token: str) -> None:
        super().__init__(token, "another one, with another payload, came before")


class GateExpiredError(SignalRefusedError):
    """The gate's time was up."""

    code = "expired"

    def __init__(self, token: str) -> None:
        super().__init__(token, "the gate's time was up")


class GateCancelledError(SignalRefusedError):
    """The gate was closed: its materialization has ended, or was begun anew."""

    code = "cancelled"

    def __init__(self, token: str) -> None:
        super().__init__(token, "the gate was closed; what waited at it has ended or begun anew")


class PayloadRefusedError(SignalRefusedError):
    """
    The payload is not what ``on_signal`` takes.

    Attributes:
        why: What is wrong with it.
    """

    code = "payload_refused"

    def __init__(self, token: str, why: str) -> None:
        self.why = why
        super().__init__(token, why)


class TokenTakenError(SignalGateError):
    """
    The token that a gate is to have is another open gate's, or was used by the same asset before.

    Attributes:
        token: The token.
    """

    code = "token_taken"

    def __init__(self, token: str) -> None:
        self.token = token
        super().__init__(
            f"token {token!r} is taken: another gate is open with it, or this one was signaled by "
            "it already; a gate wants a token of its own",
            context={"token": token},
        )


class GateNotFoundError(SignalGateError):
    """There is no such gate; it may have been pruned."""

    code = "gate_not_found"

    def __init__(self, which: int | str) -> None:
        super().__init__(f"there is no gate {which!r}; it may have been pruned")


class ClaimLostError(SignalGateError):
    """The attempt that wanted a gate had been taken over by another worker."""

    code = "claim_lost"

    def __init__(self, materialization_id: int) -> None:
        super().__init__(f"materialization {materialization_id} has gone to another worker")


class GateTimeoutError(MaterializationError):
    """No signal came in time. Tried again only with ``Retry(…, on=GateTimeoutError)``."""

    code = "signal_timeout"
