"""The arguments of a job: bound when it is called for, JSON while it waits, typed when it runs."""

import dataclasses
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any

from flowstone.core.asset import Asset
from flowstone.core.contracts.codec import Codec
from flowstone.core.errors import (
    JobArgumentsError,
    ValueNotReadableError,
    ValueNotStorableError,
)
from flowstone.core.json_value import JsonText
from flowstone.core.parameters import OwnArgument
from flowstone.core.unique import Unique, canonical
from flowstone.core.unique_key import UniqueKey

MAX_BYTES = 1024 * 1024
"""The most that the arguments of a job may have, as JSON: larger things belong in a table."""

PLAIN_TYPES: Mapping[object, Callable[[Any], str]] = {
    str: json.JSONEncoder().encode,
    int: int.__repr__,
    bool: lambda it: "true" if it else "false",
    float: float.__repr__,
}
"""What comes back from JSON as it was, when its annotation says just that; and as JSON."""

CanonicalForm = tuple[str, Sequence[tuple[str, Callable[[Any], str]]]]


@lru_cache(maxsize=4096)
def arguments_of(body: Asset[..., object]) -> "JobArguments":
    """Return what a job takes, given its body; an annotation may name what comes later."""
    return JobArguments(body.full_name, body.signature.own_arguments)


class JobArguments:
    """
    What a job takes.

    Args:
        job: Its full name, for messages.
        wanted: The parameters.
    """

    def __init__(self, job: str, wanted: Sequence[OwnArgument]) -> None:
        self._job = job
        self._wanted = wanted
        self._signature = inspect.Signature(_in_order(wanted))
        self._positional = [it.parameter for it in wanted if not it.keyword_only]
        self._required = frozenset(it.parameter for it in wanted if it.is_required)
        self._plain = {
            it.parameter: it.annotation for it in wanted if it.annotation in list(PLAIN_TYPES)
        }
        self._defaults: dict[str, object] | None = None
        if len(self._plain) == len(wanted):
            self._defaults = {it.parameter: it.default for it in wanted if not it.is_required}
        self._usual = self._defaults
        if any(type(it) is not self._plain[name] for name, it in (self._defaults or {}).items()):
            self._usual = None  # nor need 1 be the 1.0 that a float is
        self._canonical_forms: dict[Sequence[str] | None, CanonicalForm] = {}
        self._type: type[Any] = dataclasses.make_dataclass(
            job.rpartition(".")[2] or "job",
            [(it.parameter, it.annotation, _field(it)) for it in wanted],
            kw_only=True,
        )

    def bind(self, args: Sequence[object], kwargs: Mapping[str, object]) -> Mapping[str, object]:
        """
        Return the arguments by name.

        Raises:
            JobArgumentsError: They do not fit the parameters.
        """
        parameters = self._signature.parameters
        # A batch has thousands, and as a rule they fit: only errors are left to `inspect`.
        given = dict(zip(self._positional, args, strict=False))
        fits = len(given) == len(args) and kwargs.keys().isdisjoint(given)
        given |= kwargs
        if fits and self._required <= given.keys() <= parameters.keys():
            return {name: given[name] for name in parameters if name in given}
        try:
            return dict(self._signature.bind(*args, **kwargs).arguments)
        except TypeError as error:
            takes = ", ".join(map(str, self._signature.parameters.values())) or "nothing"
            raise JobArgumentsError(self._job, f"{error}; it takes: {takes}") from None

    def encode(self, given: Mapping[str, object], codec: Codec) -> JsonText:
        """
        Return the arguments as JSON that `decode` takes.

        Raises:
            JobArgumentsError: One cannot be stored, or is not what its annotation says.
        """
        try:
            text = codec.encode(dict(given), max_bytes=MAX_BYTES)
            if not self._are_plain(given):
                self._check(text, codec)
        except (ValueNotStorableError, ValueNotReadableError) as error:
            raise JobArgumentsError(self._job, f"at {error.path}: {error.why}") from error
        return text

    def decode(self, text: JsonText, codec: Codec) -> dict[str, object]:
        """
        Return the arguments to call the function with; defaults fill what was not given.

        Raises:
            JobArgumentsError: They are not what the function takes (any longer).
        """
        try:
            if self._defaults is not None:
                plain = codec.decode(text)
                if isinstance(plain, dict) and self._are_plain(plain):
                    known = self._defaults | plain
                    return {it.parameter: known[it.parameter] for it in self._wanted}
            read = self._check(text, codec)
        except ValueNotReadableError as error:
            raise JobArgumentsError(self._job, f"at {error.path}: {error.why}") from error
        return {it.parameter: getattr(read, it.parameter) for it in self._wanted}

    def key(
        self, given: Mapping[str, object], text: JsonText, unique: Unique, codec: Codec
    ) -> UniqueKey:
        """
        Return what makes a job with these arguments the same as another.

        Args:
            text: What `encode` made of them.

        Raises:
            JobArgumentsError: They are not what the function takes.
        """
        if self._usual is not None and self._are_plain(given):
            if len(given) == len(self._wanted):
                return unique.key_of_text(self._canonical(given, unique.by))
            return unique.key_of(self._job, unique.chosen({**self._usual, **given}))
        chosen = codec.encode(unique.chosen(self._all(given, text, codec)), max_bytes=2 * MAX_BYTES)
        return unique.key_of(self._job, json.loads(chosen))

    def full(self, given: Mapping[str, object], text: JsonText, codec: Codec) -> JsonText:
        """
        Return all arguments as JSON, those that were left to their defaults too.

        Args:
            text: What `encode` made of them.

        Raises:
            JobArgumentsError: They are not what the function takes.
        """
        return codec.encode(self._all(given, text, codec), max_bytes=2 * MAX_BYTES)

    def _all(
        self, given: Mapping[str, object], text: JsonText, codec: Codec
    ) -> Mapping[str, object]:
        """
        Return all arguments as JSON brings them back.

        So what was left to a default, or given as another type that fits, is the same: of a
        ``float``, 1 is 1.0, whoever says it.
        """
        known = self.decode(text, codec)
        left = {it.parameter: it.annotation for it in self._wanted if it.parameter not in given}
        for name, annotation in left.items():
            # A default need not fit its annotation: nobody is asked for `None` in `x: int = None`.
            with suppress(ValueNotStorableError, ValueNotReadableError):
                known[name] = codec.decode(codec.encode(known[name]), annotation)
        return known

    def _canonical(self, given: Mapping[str, object], by: Sequence[str] | None) -> str:
        """Return what `canonical` says of plain arguments, quicker: a batch has thousands."""
        form = self._canonical_forms.get(by)
        if form is None:
            names = sorted(self._plain if by is None else by)
            # A line break is not in any such text.
            empty = canonical(self._job, dict.fromkeys(names, "\n"))
            template = empty.replace("%", "%%").replace(r'"\n"', "%s")
            form = template, [(name, PLAIN_TYPES[self._plain[name]]) for name in names]
            self._canonical_forms[by] = form
        template, writers = form
        return template % tuple([write(given[name]) for name, write in writers])

    def _are_plain(self, given: Mapping[str, object]) -> bool:
        """Return whether JSON brings back just what is given, so that nobody need look."""
        types = {name: type(value) for name, value in given.items()}
        return self._required <= types.keys() and types.items() <= self._plain.items()

    def _check(self, text: JsonText, codec: Codec) -> object:
        return codec.decode(text, self._type)


def _in_order(wanted: Sequence[OwnArgument]) -> list[inspect.Parameter]:
    """Return the parameters as Python wants them: keyword-only ones last, required ones first."""
    ordered = sorted(wanted, key=lambda it: it.keyword_only)
    return [
        inspect.Parameter(
            it.parameter,
            inspect.Parameter.KEYWORD_ONLY
            if it.keyword_only
            else inspect.Parameter.POSITIONAL_OR_KEYWORD,
            default=it.default,
            annotation=it.annotation,
        )
        for it in ordered
    ]


def _field(argument: OwnArgument) -> Any:
    if argument.is_required:
        return dataclasses.field()
    default = argument.default
    return dataclasses.field(default_factory=lambda: default)
