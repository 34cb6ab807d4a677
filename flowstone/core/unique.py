"""
Which jobs are the same: one of them is enqueued, and the others are it.

::

    @shop.job(unique=Unique(by=["customer"], within="10m"))
    async def sync(customer: int, reason: str) -> None: ...

A job's key is a hash of its name and of its arguments in canonical JSON, defaults filled in,
however they were given. It holds the key while its state is among ``states`` and its window has not
passed; no other with that key is enqueued then, by whatever client, alone or among thousands.
"""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from datetime import timedelta
from typing import Literal, cast

from flowstone.core import duration
from flowstone.core.errors import InvalidOptionError
from flowstone.core.unique_key import JobState, OnConflict, UniqueKey

ALL_STATES = frozenset(JobState)


@dataclass(frozen=True, slots=True)
class Unique:
    """
    What makes jobs of one name the same.

    Args:
        by: The arguments that count; None is all of them, ``[]`` none: one job at a time.
        within: How long a job counts, from when it was enqueued; None is for as long as its state
            does.
        states: Where a job counts: of ``waiting`` (also for its time, or to be tried again),
            ``running``, ``succeeded`` (also skipped), ``failed`` and ``cancelled``, for as long as
            it is kept. ``waiting`` has to be among them.
        on_conflict: ``existing`` gives the handle of the job that is there. ``replace`` also gives
            that job the new arguments, queue, priority and time, if it waits; one that runs, or
            has ended, stays as it is. ``raise`` raises `JobExistsError`.

    Raises:
        InvalidOptionError: An option has a wrong value.
    """

    _: KW_ONLY
    by: Sequence[str] | None = None
    within: timedelta | str | float | None = None
    states: Collection[
        Literal["waiting", "running", "succeeded", "failed", "cancelled"] | JobState
    ] = (JobState.WAITING, JobState.RUNNING)
    on_conflict: Literal["existing", "replace", "raise"] | OnConflict = OnConflict.EXISTING

    def __post_init__(self) -> None:
        object.__setattr__(self, "by", _names(self.by))
        object.__setattr__(self, "states", _states(self.states))
        if self.within is not None:
            object.__setattr__(self, "within", _window(self.within))
        if self.on_conflict not in list(OnConflict):
            raise InvalidOptionError(
                f'on_conflict={self.on_conflict!r} must be "existing", "replace" or "raise"'
            )
        object.__setattr__(self, "on_conflict", OnConflict(self.on_conflict))

    def key_of(self, job: str, chosen: Mapping[str, object]) -> UniqueKey:
        """
        Return the key of one job.

        Args:
            job: Its full name.
            chosen: The arguments that count, as JSON has them.
        """
        return self.key_of_text(canonical(job, chosen))

    def key_of_text(self, text: str) -> UniqueKey:
        """Return the key of one job, given what `canonical` says of it."""
        within = self.within if isinstance(self.within, timedelta) else None
        # Parsed when this was made.
        states = cast("frozenset[JobState]", self.states)
        return UniqueKey(_hash(text), states, within, cast("OnConflict", self.on_conflict))

    def chosen(self, arguments: Mapping[str, object]) -> dict[str, object]:
        """Return the arguments that count."""
        return {name: arguments[name] for name in (arguments if self.by is None else self.by)}


def dedupe_key(job: str, text: str, place: int) -> UniqueKey:
    """Return the key of a job that is enqueued once for this text and place."""
    return UniqueKey(_hash(canonical(job, ["dedupe", text, place])), ALL_STATES)


_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"))


def canonical(job: str, what: object) -> str:
    """Return the one text that there is for a job and a JSON value."""
    return _CANONICAL.encode([job, what])


def _hash(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _names(given: object) -> tuple[str, ...] | None:
    if given is None:
        return None
    is_list = isinstance(given, Collection) and not isinstance(given, str)
    names = tuple(given) if is_list and isinstance(given, Collection) else (None,)
    if not all(isinstance(it, str) for it in names):
        raise InvalidOptionError(f"by={given!r} must be a list of the names of arguments")
    return tuple(dict.fromkeys(map(str, names)))


def _states(given: object) -> frozenset[JobState]:
    known = ", ".join(JobState)
    if isinstance(given, str) or not isinstance(given, Collection):
        raise InvalidOptionError(f"states={given!r} must be a set, of: {known}")
    alien = [it for it in given if it not in list(JobState)]
    if alien:
        raise InvalidOptionError(f"states={given!r}: {alien[0]!r} is none of: {known}")
    states = frozenset(map(JobState, given))
    if JobState.WAITING not in states:
        raise InvalidOptionError(
            f'states={given!r} must contain "waiting": a job that waits would not keep others out, '
            "and nothing would be unique"
        )
    return states


def _window(given: timedelta | str | float) -> timedelta:
    window = duration.parse(given, option="within")
    if not window:
        raise InvalidOptionError(f"within={given!r} must be longer than nothing")
    return window
