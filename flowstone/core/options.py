"""
What may be said about an asset beside its function: placement, policy, names for people.

Values are checked here; the names in them (an IO manager's, a queue's) are looked up when the
application is built or the asset runs.
"""

import inspect
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from flowstone.core import duration
from flowstone.core.errors import InvalidOptionError
from flowstone.core.io_choice import text_of
from flowstone.core.retry import Retry
from flowstone.core.suggestion import suggest
from flowstone.core.unique import Unique

LONGEST_NAME = 200
"""Characters of a pipeline's or an asset's name."""

LONGEST_QUEUE = 40
"""Bytes of a queue's name: it is part of the name of a NOTIFY channel, which has 63 at most."""

PRIORITIES = range(-(2**31), 2**31)


@dataclass(frozen=True, slots=True)
class Options:
    """
    An asset's options, checked and merged with its pipeline's.

    Attributes:
        io: The IO manager, as `flowstone.core.io_choice` writes it; None is the default one.
        retry: The policy of attempts; None is `flowstone.core.retry.DEFAULT_RETRY`.
        timeout: The longest that one attempt may take; None is no limit.
        queue: None is the application's default queue.
        priority: Higher is sooner.
        aliases: Full names that the asset had before, so that a rename keeps its history.
        version: What the author calls this version of the code; None is the hash of the code.
        executor: Where a plain function runs; None is a thread.
        unique: Of a job: which others are the same; None is none.
        lane: Of a job: the argument whose value says which serial lane it is in.
    """

    io: str | None = None
    retry: Retry | None = None
    timeout: timedelta | None = None
    queue: str | None = None
    priority: int = 0
    tags: tuple[str, ...] = ()
    owner: str | None = None
    description: str = ""
    aliases: tuple[str, ...] = ()
    version: str | None = None
    executor: Literal["thread", "process"] | None = None
    unique: Unique | None = None
    lane: str | None = None


class OptionReader:
    """Takes values one by one and keeps what is wrong with them, so that all of it is told."""

    def __init__(self) -> None:
        self.objections: list[str] = []

    def text(self, option: str, value: object, *, longest: int = LONGEST_NAME) -> str | None:
        """Return a printable, non-empty text, or None for None and for what is refused."""
        if value is None:
            return None
        if not isinstance(value, str) or not value.strip() or not value.isprintable():
            self._refuse(option, value, "a text")
            return None
        if len(value.encode("utf-8", "replace")) > longest:
            self._refuse(option, value, f"at most {longest} bytes")
            return None
        return value

    def queue(self, value: object) -> str | None:
        """Return the name of a queue."""
        return self.text("queue", value, longest=LONGEST_QUEUE)

    def io(self, value: object) -> str | None:
        """Return the text of an IO manager: its name, or (name, configuration)."""
        if not isinstance(value, tuple):
            return self.text("io", value)
        try:
            return text_of(value)
        except InvalidOptionError as error:
            self.objections.append(str(error))
            return None

    def retry(self, value: object) -> Retry | None:
        """Return the policy; a number is how often it is tried in all."""
        if value is None or isinstance(value, Retry):
            return value
        if not isinstance(value, int):
            self._refuse("retry", value, "a Retry or a number of attempts")
            return None
        try:
            return Retry(value)
        except InvalidOptionError as error:
            self.objections.append(f"retry={value!r}: {error}")
            return None

    def timeout(self, value: object) -> timedelta | None:
        """Return the time, which must not be zero."""
        if value is None:
            return None
        if not isinstance(value, timedelta | str | int | float):
            self._refuse("timeout", value, "a timedelta, seconds, or a text such as '10m'")
            return None
        try:
            timeout = duration.parse(value, option="timeout")
        except InvalidOptionError as error:
            self.objections.append(str(error))
            return None
        if timeout:
            return timeout
        self._refuse("timeout", value, "longer than nothing")
        return None

    def priority(self, value: object) -> int:
        """Return the priority, a 32-bit number."""
        if isinstance(value, int) and not isinstance(value, bool) and value in PRIORITIES:
            return value
        self._refuse("priority", value, "a whole number of 32 bits; higher is sooner")
        return 0

    def executor(self, value: object) -> Literal["thread", "process"] | None:
        """Return where a plain function runs, or None when nothing is said."""
        match value:
            case None | "thread" | "process":
                return value
        self._refuse("executor", value, '"thread" or "process"')
        return None

    def unique(self, value: object) -> Unique | None:
        """Return what makes jobs the same."""
        if value is None or isinstance(value, Unique):
            return value
        self._refuse("unique", value, "a Unique: unique=Unique()")
        return None

    def texts(self, option: str, values: object) -> tuple[str, ...]:
        """Return several texts, each once, in the order given."""
        if isinstance(values, str) or not isinstance(values, Iterable):
            self._refuse(option, values, f'a list: {option}=["{values}"]')
            return ()
        read = [self.text(option, value) for value in values]
        return tuple(dict.fromkeys(text for text in read if text is not None))

    def description(self, value: object) -> str:
        """Return the description without the indentation of its source."""
        if value is None or isinstance(value, str):
            return inspect.cleandoc(value or "")
        self._refuse("description", value, "a text")
        return ""

    def unknown(self, names: Iterable[str], decorator: Callable[..., object]) -> None:
        """Object to options that the decorator does not have."""
        for name in names:
            parameters = inspect.signature(decorator).parameters.values()
            known = [it.name for it in parameters if it.kind is it.KEYWORD_ONLY]
            self.objections.append(_there_is_no(name, known))

    def _refuse(self, option: str, value: object, wanted: str) -> None:
        self.objections.append(f"{option}={value!r} must be {wanted}")


def name_objection(kind: str, name: object) -> str | None:
    """Say why something cannot be the name of a pipeline or an asset, or None."""
    if not isinstance(name, str):
        return f"the name of {kind} must be a text, not {name!r}"
    if not name.isidentifier():
        return f"{name!r} cannot be the name of {kind}: use letters, digits and underscores"
    if len(name) > LONGEST_NAME:
        return f"the name of {kind} has {len(name)} characters; {LONGEST_NAME} is the most"
    return None


def refuse_unknown(given: Iterable[str], known: Collection[str]) -> None:
    """
    Refuse what a call was given beside the options that it takes.

    Args:
        known: The options of this call, and of those like it.

    Raises:
        InvalidOptionError: It names the option, and the one that was probably meant.
    """
    for name in given:
        if name in known:
            raise InvalidOptionError(f"{name}= is an option of enqueue, and not of this call")
        raise InvalidOptionError(_there_is_no(name, known))


def _there_is_no(name: str, known: Collection[str]) -> str:
    meant = suggest(name, known)
    advice = f"did you mean {meant}=?" if meant else f"there are: {', '.join(known)}"
    return f"there is no option {name}=; {advice}"
