"""The options of a scatter, checked, and as rows keep them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, Self

from flowstone.core import duration, rate
from flowstone.core.errors import InvalidOptionError
from flowstone.core.json_value import JsonValue
from flowstone.core.rate import Rate
from flowstone.core.retry import Retry

MOST_CONCURRENT = 1_000_000
DEFAULT_ATTEMPTS = 3
DEFAULT_TIMEOUT = timedelta(minutes=30)

FailureMode = Literal["all_or_nothing", "partial"]
Mode = Literal["inline", "distributed"]

_RATE_UNITS = {"second": timedelta(seconds=1), "minute": timedelta(minutes=1)}


@dataclass(frozen=True, slots=True)
class ScatterOptions:
    """
    How a scatter works through its items.

    Attributes:
        max_concurrent: How many items run at once, over all workers; None is no limit.
        rate_limit: How many items start within any period, over all workers: ``"10/s"``.
        failure_threshold: The share of items that may fail with ``partial``; a rate equal to it is
            tolerated.
        failure_mode: ``all_or_nothing`` ends with the first item that failed for good.
        max_attempts: How often an item is tried in all.
        timeout: How long one attempt at an item may take; None is for ever.
        mode: With ``distributed`` each page of items is a child of its own, whose progress and
            results are told apart from those of the others.
        batch_size: How many items one page has at most; None is a thousand.
        max_batches: How many pages are read at most; None is all.
        queue: Where its work is claimed from; None is the asset's queue.
        priority: Of that work; None is the asset's.

    Raises:
        InvalidOptionError: One of them is out of its range.
    """

    max_concurrent: int | None = None
    rate_limit: Rate | None = None
    failure_threshold: float = 0.0
    failure_mode: FailureMode = "all_or_nothing"
    max_attempts: int = DEFAULT_ATTEMPTS
    timeout: timedelta | None = DEFAULT_TIMEOUT
    mode: Mode = "inline"
    batch_size: int | None = None
    max_batches: int | None = None
    queue: str | None = None
    priority: int | None = None

    @classmethod
    def of(
        cls,
        *,
        max_concurrent: int | None = None,
        rate_limit: Rate | str | None = None,
        failure_threshold: float = 0.0,
        failure_mode: FailureMode = "all_or_nothing",
        max_attempts: int = DEFAULT_ATTEMPTS,
        timeout: timedelta | str | float | None = DEFAULT_TIMEOUT,
        mode: Mode = "inline",
        batch_size: int | None = None,
        max_batches: int | None = None,
        queue: str | None = None,
        priority: int | None = None,
    ) -> Self:
        """Return the options, given as people write them."""
        limit = None if rate_limit is None else rate.parse(rate_limit, option="rate_limit")
        longest = None if timeout is None else duration.parse(timeout, option="timeout")
        return cls(
            max_concurrent,
            limit,
            failure_threshold,
            failure_mode,
            max_attempts,
            longest,
            mode,
            batch_size,
            max_batches,
            queue,
            priority,
        )

    def __post_init__(self) -> None:
        if self.max_concurrent is not None:
            _check_count("max_concurrent", self.max_concurrent, MOST_CONCURRENT)
        threshold = self.failure_threshold
        if isinstance(threshold, bool) or not isinstance(threshold, int | float):
            raise InvalidOptionError(f"failure_threshold={threshold!r} must be a number")
        if not 0 <= threshold <= 1:
            raise InvalidOptionError(f"failure_threshold={threshold!r} must be from 0 to 1")
        if self.failure_mode not in ("all_or_nothing", "partial"):
            raise InvalidOptionError(
                f"failure_mode={self.failure_mode!r} must be 'all_or_nothing' or 'partial'"
            )
        if self.mode not in ("inline", "distributed"):
            raise InvalidOptionError(f"mode={self.mode!r} must be 'inline' or 'distributed'")
        _check_count("max_attempts", self.max_attempts, 32_000)
        for name, count in (("batch_size", self.batch_size), ("max_batches", self.max_batches)):
            if count is not None:
                _check_count(name, count, 1_000_000_000)
        if self.timeout is not None and not self.timeout:
            raise InvalidOptionError("timeout=0 lets no item end; None is no limit")

    @property
    def tolerated(self) -> str:
        """What of failures is tolerated, for people."""
        if self.failure_mode == "all_or_nothing":
            return 'and failure_mode="all_or_nothing" tolerates none'
        return f"and failure_threshold={self.failure_threshold:g} tolerates no more than that share"

    def to_map(self) -> dict[str, JsonValue]:
        """Return what rows keep; `from_map` makes the same options of it."""
        return {
            "max_concurrent": "unlimited" if self.max_concurrent is None else self.max_concurrent,
            "rate_limit": None if self.rate_limit is None else _stored_rate(self.rate_limit),
            "failure_threshold": self.failure_threshold,
            "failure_mode": self.failure_mode,
            "retry_strategy": "individual",
            "max_attempts": self.max_attempts,
            "timeout": "infinity"
            if self.timeout is None
            else self.timeout // timedelta(milliseconds=1),
            "mode": self.mode,
            "batch_size": self.batch_size,
            "max_batches": self.max_batches,
            "queue": self.queue,
            "priority": self.priority,
        }

    @classmethod
    def from_map(cls, stored: Mapping[str, JsonValue]) -> Self:
        """Return the options that rows keep; what is missing or unknown there is the default."""
        given: dict[str, object] = {
            name: value for name, value in stored.items() if name in cls.__slots__
        }
        if given.get("max_concurrent") == "unlimited":
            del given["max_concurrent"]
        if isinstance(given.get("rate_limit"), list):
            given["rate_limit"] = _rate(given["rate_limit"])
        if given.get("timeout") == "infinity":
            given["timeout"] = None
        elif isinstance(given.get("timeout"), int):
            given["timeout"] = timedelta(milliseconds=given["timeout"])  # type: ignore[arg-type]
        return cls(**given)  # type: ignore[arg-type]  # checked when it is made


@dataclass(frozen=True, slots=True)
class Attempts:
    """How often, and when, an item is tried again."""

    retry: Retry

    @classmethod
    def of(cls, max_attempts: int | None, strategy: Retry | None) -> Self:
        """
        Return the policy that the two options say.

        Raises:
            InvalidOptionError: Both say how often.
        """
        if strategy is not None and not isinstance(strategy, Retry):
            raise InvalidOptionError(f"retry_strategy={strategy!r} must be a Retry")
        if strategy is not None and max_attempts is not None:
            raise InvalidOptionError("retry_strategy= says how often; leave max_attempts= out")
        if strategy is not None:
            return cls(strategy)
        count = DEFAULT_ATTEMPTS if max_attempts is None else max_attempts
        return cls(Retry(count, base=timedelta(seconds=5), cap=timedelta(minutes=1)))


def _check_count(name: str, count: object, most: int) -> None:
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= most:
        raise InvalidOptionError(f"{name}={count!r} must be a whole number, 1 to {most}")


def _stored_rate(limit: Rate) -> JsonValue:
    for unit, period in _RATE_UNITS.items():
        if limit.per == period:
            return [limit.count, unit]
    return [limit.count, limit.per // timedelta(milliseconds=1)]


def _rate(stored: object) -> Rate:
    assert isinstance(stored, list)
    count, unit = stored
    period = _RATE_UNITS.get(unit) if isinstance(unit, str) else timedelta(milliseconds=unit)
    if period is None:
        raise InvalidOptionError(f"rate_limit={stored!r} is in no unit that is known")
    return Rate(count, period)
