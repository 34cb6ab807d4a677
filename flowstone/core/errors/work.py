"""Errors of work that was under way: materializations, values, storage, resources."""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import ClassVar, Self

from flowstone.core.errors.root import FlowStoneError, reason_text


class ValidationFailedError(FlowStoneError):
    """Data did not have the declared shape."""

    code = "validation_error"


class MaterializationError(FlowStoneError):
    """
    A materialization failed.

    Attributes:
        asset: The asset's full name.
        partition: The encoded partition; empty is none.
        run_id: The run; None outside of one.
    """

    code = "materialization_error"

    def __init__(
        self,
        message: str | None = None,
        *,
        asset: str = "",
        partition: str = "",
        run_id: int | None = None,
        retryable: bool | None = None,
        context: Mapping[str, object] | None = None,
    ) -> None:
        self.asset = asset
        self.partition = partition
        self.run_id = run_id
        where = {"asset": asset, "partition": partition, "run_id": run_id}
        super().__init__(message, retryable=retryable, context={**where, **(context or {})})


class AssetFunctionError(MaterializationError):
    """The asset's function raised; the exception is the error's __cause__."""

    code = "execution_error"
    subject: ClassVar[str] = "Asset execution"

    @classmethod
    def wrapping(
        cls,
        reason: object,
        *,
        asset: str = "",
        partition: str = "",
        run_id: int | None = None,
        retryable: bool | None = None,
    ) -> Self:
        """Return the error for whatever stopped the function; an exception becomes its cause."""
        error = cls(
            f"{cls.subject} failed: {reason_text(reason)}",
            asset=asset,
            partition=partition,
            run_id=run_id,
            retryable=retryable,
        )
        if isinstance(reason, BaseException):
            error.__cause__ = reason
        return error


class JobFunctionError(AssetFunctionError):
    """The job's function raised; the exception is the error's __cause__."""

    code = "job_execution_error"
    subject = "Job"


class DependencyFailedError(MaterializationError):
    """
    Something that the asset depends on failed.

    Attributes:
        dependency: Its full name.
    """

    code = "dependency_failed"

    def __init__(
        self, dependency: str, *, asset: str = "", partition: str = "", run_id: int | None = None
    ) -> None:
        self.dependency = dependency
        super().__init__(
            f"Dependency failed: {dependency}",
            asset=asset,
            partition=partition,
            run_id=run_id,
            context={"dependency": dependency},
        )


class DependencyNotReadyError(MaterializationError):
    """
    Something that the asset depends on has no value yet.

    Attributes:
        missing: The full names of what has none.
    """

    code = "dependency_not_ready"
    retryable = True

    def __init__(
        self,
        missing: Iterable[str],
        *,
        asset: str = "",
        partition: str = "",
        run_id: int | None = None,
    ) -> None:
        self.missing = tuple(missing)
        super().__init__(
            f"Dependencies not ready: [{', '.join(self.missing)}]",
            asset=asset,
            partition=partition,
            run_id=run_id,
            context={"missing": list(self.missing)},
        )


class MaterializationTimeoutError(MaterializationError):
    """
    The asset's function took longer than its timeout.

    Attributes:
        timeout: How long it had.
    """

    code = "timeout"
    retryable = True

    def __init__(
        self,
        timeout: timedelta,
        *,
        asset: str = "",
        partition: str = "",
        run_id: int | None = None,
    ) -> None:
        self.timeout = timeout
        milliseconds = timeout / timedelta(milliseconds=1)
        super().__init__(
            f"Asset execution timed out after {milliseconds:.15g}ms",
            asset=asset,
            partition=partition,
            run_id=run_id,
            context={"duration_ms": milliseconds},
        )


class ProcessDiedError(MaterializationError):
    """
    The child process of an asset with ``executor="process"`` ended before its function did.

    Trying again can help: a process that is killed has often met others that needed the memory.

    Attributes:
        how: What became of it: the signal that killed it, or its exit code.
    """

    code = "process_died"
    retryable = True

    def __init__(
        self, how: str, *, asset: str = "", partition: str = "", run_id: int | None = None
    ) -> None:
        self.how = how
        advice = "; is the system out of memory?" if "SIGKILL" in how else ""
        super().__init__(
            f"The child process {how}{advice}",
            asset=asset,
            partition=partition,
            run_id=run_id,
            context={"how": how},
        )


class StorageError(FlowStoneError):
    """An IO manager failed."""

    code = "io_error"


class NotStoredError(StorageError):
    """Nothing is stored there."""

    code = "not_stored"


class ValueNotStorableError(StorageError):
    """
    A value cannot be encoded without becoming another one.

    Attributes:
        why: What is wrong.
        path: Where in the value, such as ``$.items[3].name``; ``$`` is the value itself.
        advice: What to do about it; empty when nothing is known.
    """

    code = "value_not_storable"

    def __init__(self, why: str, *, path: str = "$", advice: str = "") -> None:
        self.path = path
        self.why = why
        self.advice = advice
        super().__init__(
            f"the value cannot be stored: at {path}: {why}{'; ' if advice else ''}{advice}",
            context={"path": path, "why": why, "advice": advice},
        )


class ValueNotReadableError(StorageError):
    """
    A stored value is not what the annotation of its reader says.

    Attributes:
        why: What is wrong.
        path: Where in the value; ``$`` is the value itself.
        asset: Whose value it is; empty when that is not known.
    """

    code = "value_not_readable"

    def __init__(self, why: str, *, path: str = "$", asset: str = "") -> None:
        self.path = path
        self.why = why
        self.asset = asset
        whose = f" of {asset}" if asset else ""
        super().__init__(
            f"the stored value{whose} cannot be read: at {path}: {why}",
            context={"path": path, "why": why, **({"asset": asset} if asset else {})},
        )


class ReaderError(FlowStoneError):
    """
    An item reader failed.

    Attributes:
        reader: What it is called.
        doing: What it could not do, such as ``read page 3``.
        reason: Why, in words.
    """

    code = "reader_error"

    def __init__(
        self, reader: str, doing: str, reason: str, *, retryable: bool | None = None
    ) -> None:
        self.reader = reader
        self.doing = doing
        self.reason = reason
        super().__init__(
            f"item reader '{reader}' could not {doing}: {reason}",
            retryable=retryable,
            context={"reader": reader, "doing": doing, "reason": reason},
        )


class ResourceUnavailableError(FlowStoneError):
    """Something outside that the work needs is not available."""

    code = "resource_unavailable"
    retryable = True


class IllegalTransitionError(FlowStoneError):
    """
    That cannot happen in this status.

    Attributes:
        from_status: The status it was in.
        to_status: The status, or the event, that cannot follow.
    """

    code = "illegal_transition"

    def __init__(self, from_status: str, to_status: str) -> None:
        self.from_status = from_status
        self.to_status = to_status
        super().__init__(
            f"'{to_status}' cannot follow '{from_status}'",
            context={"from_status": from_status, "to_status": to_status},
        )
