"""What keeps gates, and signals that came before theirs: the plugin's contract and records."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import ClassVar

from flowstone.core.contracts.coordinator import Coordinator
from flowstone.core.contracts.host import Host
from flowstone.core.json_value import JsonText

FIRST_RETRY = timedelta(minutes=5)
RETRY_FACTOR = 3


NOT_CHECKED: Mapping[str, bool] = MappingProxyType({})


class GateStatus(StrEnum):
    """How a gate stands; all but ``waiting`` are final."""

    WAITING = "waiting"
    SIGNALED = "signaled"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"


class TimeoutAction(StrEnum):
    """What a gate does when its time is up."""

    FAIL = "fail"
    RETRY = "retry"
    """Wait on, 5, 15, 45 … minutes, so often; then fail."""
    CANCEL = "cancel"
    CALL = "call"
    """Call ``on_timeout``."""


class Answer(StrEnum):
    """What became of a signal."""

    ACCEPTED = "accepted"
    REPEATED = "repeated"
    """The gate has this very payload already."""
    KEPT = "kept"
    """No gate is open under the token yet; the one that opens takes it."""
    ALREADY_SIGNALED = "already_signaled"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    MISFIT = "misfit"
    """The payload is not what ``on_signal`` takes."""

    @property
    def is_refusal(self) -> bool:
        """Whether the signal had no effect and never will."""
        return self not in (Answer.ACCEPTED, Answer.REPEATED, Answer.KEPT)


@dataclass(frozen=True, slots=True)
class NewGate:
    """
    A gate that is to be opened.

    Attributes:
        claim: The fence: a late worker opens nothing.
        timeout: None waits for ever.
        metadata: A JSON object, for people.
    """

    materialization_id: int
    claim: int
    token: str
    attempt: int = 1
    timeout: timedelta | None = timedelta(hours=1)
    timeout_action: TimeoutAction = TimeoutAction.FAIL
    max_timeout_retries: int = 3
    metadata: JsonText = "{}"


@dataclass(frozen=True, slots=True)
class Gate:
    """
    A gate as it stands.

    Attributes:
        attempt: Which attempt at the asset opened it.
        remaining: From now to ``timeout_at``, by the store's clock; None: it waits for ever.
        payload: What was signaled, JSON text.
        sender: Who has sent it, as far as was told: a JSON object.
        is_checked: Whether the payload was read as what ``on_signal`` takes before it was accepted.
        ended_at: When it was signaled, timed out, or was cancelled.
        waited: From its opening to its end, or to now.
        failures: Codes of what attempts of its materialization have failed with, from the attempt
            on that opened it.
    """

    id: int
    materialization_id: int
    run_id: int
    asset: str
    partition: str
    attempt: int
    token: str
    status: GateStatus
    opened_at: datetime
    timeout_at: datetime | None
    remaining: timedelta | None
    timeout_action: TimeoutAction
    timeout_retries: int
    max_timeout_retries: int
    metadata: JsonText
    signaled_at: datetime | None
    payload: JsonText | None
    sender: JsonText | None
    is_checked: bool
    ended_at: datetime | None
    waited: timedelta
    failures: Sequence[str] = ()

    @property
    def is_open(self) -> bool:
        """Whether it can be signaled."""
        return self.status is GateStatus.WAITING


@dataclass(frozen=True, slots=True)
class Answered:
    """What became of a signal, and the gate that it went to; None when it is kept for later."""

    answer: Answer
    gate: Gate | None


class GateCoordinator(Coordinator, ABC):
    """
    Gates by token.

    Obligations: of several signals for a gate one is accepted, and never one at or after its
    deadline, or after its end; a gate is signaled, and its materialization woken, in one step; a
    gate whose materialization has ended is cancelled; times are the store's.
    """

    contract_version: ClassVar[str] = "1.0.0"
    minimum_version: ClassVar[str] = "1.0.0"

    app: Host
    """The application, once it is open."""

    async def open(self, app: Host) -> None:
        """Remember the application."""
        self.app = app

    @abstractmethod
    async def create(self, gate: NewGate) -> Gate:
        """
        Open a gate; a signal that came early signals it at once.

        The same token for the same materialization again is the gate that is open already. Another
        open gate of the materialization is cancelled: the attempt that opened it was lost.

        Raises:
            ClaimLostError: The materialization does not run under that claim any more.
            TokenTakenError: Another open gate has the token, or the same materialization was
                signaled by it.
        """

    @abstractmethod
    async def signal(
        self,
        token: str,
        payload: JsonText,
        *,
        sender: JsonText | None = None,
        fits: Mapping[str, bool] = NOT_CHECKED,
    ) -> Answered:
        """
        Signal the gate of a token, or keep the signal for it.

        Args:
            payload: JSON text.
            sender: A JSON object that tells who it is.
            fits: By asset, whether the payload is what its ``on_signal`` takes; where it is not, an
                open gate answers so and stays open. For an asset that is not here nobody knows.
        """

    @abstractmethod
    async def time_out(self, gate_id: int) -> Gate:
        """
        Let the gate's time be up, if it is, and return how it stands; twice is once.

        With the action ``retry`` it goes on waiting as long as retries are left.

        Raises:
            GateNotFoundError: There is no such gate.
        """

    @abstractmethod
    async def reopen(self, gate_id: int, claim: int) -> Gate | None:
        """
        Take back a signal whose payload was not checked; None when there is none, or it is late.

        Args:
            claim: The one under which the gate's materialization runs.
        """

    @abstractmethod
    async def cancel(self, gate_id: int) -> Gate:
        """
        Close a gate that is open; its materialization goes on, and is cancelled.

        Returns the gate as it stands: one that has ended stays as it is.

        Raises:
            GateNotFoundError: There is no such gate.
        """

    @abstractmethod
    async def get(self, gate_id: int) -> Gate:
        """Return a gate; raises `GateNotFoundError`."""

    @abstractmethod
    async def find(self, token: str) -> Gate | None:
        """Return the gate that a token means."""

    @abstractmethod
    async def of_materialization(self, materialization_id: int) -> Sequence[Gate]:
        """Return every gate that a materialization has had, the latest first."""

    @abstractmethod
    async def of_run(self, run_id: int) -> Sequence[Gate]:
        """Return every gate that a run has had, the latest last."""

    async def remarks(self, run_id: int) -> Mapping[int, str]:
        """Say how the latest gate of each materialization stands, or has ended."""
        return {it.materialization_id: _remark(it) for it in await self.of_run(run_id)}

    @abstractmethod
    async def waiting(self, *, asset: str | None = None, limit: int = 100) -> Sequence[Gate]:
        """Return open gates, earliest deadline first, those without one last."""

    @abstractmethod
    async def prune(self, older: timedelta, *, limit: int = 1000) -> int:
        """Delete signals that were kept for so long, and return how many; a batch at a time."""


def _remark(gate: Gate) -> str:
    waited = f"{gate.waited.total_seconds():.0f}s"
    match gate.status:
        case GateStatus.WAITING:
            until = (
                f"until {gate.timeout_at:%Y-%m-%d %H:%M:%S %Z}" if gate.timeout_at else "for ever"
            )
            return f"gate {gate.token!r} is open {until}"
        case GateStatus.SIGNALED:
            return f"gate {gate.token!r} was signaled after {waited}"
        case GateStatus.TIMEOUT:
            return f"gate {gate.token!r} timed out after {waited}"
    return f"gate {gate.token!r} was closed after {waited}"


def retry_wait(retries: int) -> timedelta:
    """Return for how long a gate waits on after so many retries."""
    factor: int = RETRY_FACTOR ** min(retries, 12)
    return FIRST_RETRY * factor
