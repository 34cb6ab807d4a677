"""What became of a run, told to the one who waits for it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from flowstone.core.errors.root import FlowStoneError


@dataclass(frozen=True, slots=True)
class FailedMaterialization:
    """
    One materialization that made its run fail.

    Attributes:
        asset: The asset's full name.
        partition: The encoded partition; empty is none.
        error: What went wrong, as it is stored; see `flowstone.core.error_record`.
    """

    asset: str
    partition: str
    error: Mapping[str, object]

    def __str__(self) -> str:
        slice_ = f"[{self.partition}]" if self.partition else ""
        return f"{self.asset}{slice_}: {self.error.get('message', 'failed')}"


@dataclass(frozen=True, slots=True)
class OpenWait:
    """
    One materialization that waits for an outside event.

    Attributes:
        asset: The asset's full name.
        partition: The encoded partition; empty is none.
        on: What it waits for: ``approval``, ``signal`` …
        whom: Whom it waits for, or what exactly, for people.
    """

    asset: str
    partition: str
    on: str
    whom: tuple[str, ...] = ()

    def __str__(self) -> str:
        slice_ = f"[{self.partition}]" if self.partition else ""
        whom = f" ({', '.join(self.whom)})" if self.whom else ""
        return f"{self.asset}{slice_} for {self.on}{whom}"


class RunError(FlowStoneError):
    """
    A run did not bring what was asked for.

    Attributes:
        run_id: The run.
    """

    code = "run_error"

    def __init__(
        self,
        run_id: int,
        message: str | None = None,
        *,
        context: Mapping[str, object] | None = None,
    ) -> None:
        self.run_id = run_id
        super().__init__(message, context={"run_id": run_id, **(context or {})})


class RunFailedError(RunError):
    """
    The run failed.

    Attributes:
        failures: What failed first-hand, without what only depends on it.
    """

    code = "run_failed"

    def __init__(self, run_id: int, failures: Iterable[FailedMaterialization] = ()) -> None:
        self.failures = tuple(failures)
        shown = "".join(f"\n  {failure}" for failure in self.failures[:10])
        more = len(self.failures) - 10
        super().__init__(
            run_id,
            f"run {run_id} failed{':' if shown else ''}{shown}"
            + (f"\n  and {more} more" if more > 0 else ""),
            context={"failed": [failure.asset for failure in self.failures]},
        )


class RunCancelledError(RunError):
    """The run was cancelled."""

    code = "run_cancelled"

    def __init__(self, run_id: int) -> None:
        super().__init__(run_id, f"run {run_id} was cancelled")


class RunNotFoundError(RunError):
    """There is no such run; it may have been pruned."""

    code = "run_not_found"

    def __init__(self, run_id: int) -> None:
        super().__init__(run_id, f"run {run_id} does not exist; it may have been pruned")


class HandleTimeoutError(RunError):
    """
    The run did not end in the time that its waiter had; it goes on.

    Attributes:
        timeout: How long the waiter had.
    """

    code = "handle_timeout"

    def __init__(self, run_id: int, timeout: timedelta) -> None:
        self.timeout = timeout
        super().__init__(
            run_id,
            f"run {run_id} has not ended after {timeout.total_seconds():g}s; it goes on",
            context={"timeout_seconds": timeout.total_seconds()},
        )


class RunWaiting(RunError):
    """
    Only an outside event can move the run; it goes on when the event comes.

    Nothing failed, hence the name.

    Attributes:
        waits: What is waited for.
    """

    code = "run_waiting"

    def __init__(self, run_id: int, waits: Iterable[OpenWait] = ()) -> None:
        self.waits = tuple(waits)
        shown = ", ".join(map(str, self.waits)) or "an outside event"
        super().__init__(
            run_id,
            f"run {run_id} waits: {shown}",
            context={"waits": [str(wait) for wait in self.waits]},
        )
