"""
Configuration that a run may give to an asset: a class of fields with defaults.

::

    class ReportConfig(Config):
        top_n: int = 10

    @sales.asset
    async def report(config: ReportConfig, base: list[int] = Dep(numbers)) -> list[int]: ...

    await app.run(report, config={"top_n": 3})
"""

import dataclasses
import json
from collections.abc import Mapping
from typing import Protocol, Self, dataclass_transform

from flowstone.core import annotations
from flowstone.core.errors import FlowStoneError, InvalidOptionError, ValueNotReadableError
from flowstone.core.suggestion import suggest


class TextCodec(Protocol):
    """The part of `flowstone.core.contracts.codec.Codec` that a configuration needs."""

    def encode(self, value: object, /) -> str:
        """Return the value as JSON text."""

    def decode(self, text: str, annotation: object, /) -> object:
        """Return the value that the text stands for."""


@dataclass_transform(frozen_default=True, kw_only_default=True)
@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """
    Subclasses are frozen dataclasses whose fields are given by keyword.

    Field types are those that the application's codec knows. A field without a default has to be
    given by every run.

    Raises:
        InvalidOptionError: A field is named like a method of this class.
    """

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        taken = {"parse", "dump"} & {*vars(cls), *vars(cls).get("__annotations__", {})}
        if taken:
            raise InvalidOptionError(
                f"config {cls.__qualname__}: a field cannot be called '{min(taken)}'"
            )
        dataclasses.dataclass(frozen=True, kw_only=True)(cls)

    @classmethod
    def parse(cls, values: Mapping[str, object], codec: TextCodec, *, asset: str = "") -> Self:
        """
        Return the configuration that JSON-safe values stand for; defaults fill what is not given.

        Args:
            asset: Whose configuration it is, for the message.

        Raises:
            InvalidOptionError: Values are unknown, missing or of another type; all are listed.
        """
        fields = {field.name: field for field in dataclasses.fields(cls) if field.init}
        types = field_types(cls)
        wrong = field_objections(cls)
        wrong += [_unknown(str(name), fields) for name in values if name not in fields]
        given: dict[str, object] = {}
        for name, field in fields.items():
            if name not in values:
                if _is_required(field):
                    wrong.append(f"'{name}' is missing: {annotations.type_text(types[name])}")
                continue
            try:
                text = json.dumps(values[name], allow_nan=False)
                given[name] = codec.decode(text, types[name])
            except (FlowStoneError, TypeError, ValueError) as error:
                expected = annotations.type_text(types[name])
                wrong.append(f"'{name}' must be {expected}, not {values[name]!r}{_why(error)}")
        if not wrong:
            try:
                return cls(**given)
            except ValueError as error:  # a __post_init__ of the author's
                wrong.append(str(error))
        subject = f"asset '{asset}': " if asset else ""
        raise InvalidOptionError(f"{subject}config {cls.__qualname__}: {'; '.join(wrong)}")

    def dump(self, codec: TextCodec) -> dict[str, object]:
        """
        Return the JSON-safe values that `parse` reads back.

        Raises:
            ValueNotStorableError: A value is of a type that the codec does not know.
        """
        return {
            field.name: json.loads(codec.encode(getattr(self, field.name)))
            for field in dataclasses.fields(self)
            if field.init
        }


def field_types(kind: type[Config]) -> Mapping[str, object]:
    """Return the types of the fields; kept by the class once all of them are known."""
    types: Mapping[str, object] | None = vars(kind).get("_types")
    if types is None:
        types = annotations.resolve_fields(kind)
        if not any(isinstance(it, annotations.Unresolved) for it in types.values()):
            type.__setattr__(kind, "_types", types)
    return types


def field_objections(kind: type[Config]) -> list[str]:
    """Say which fields have an annotation that does not name a type."""
    return [
        f"field '{name}' is annotated '{annotation.text}': {annotation.reason}"
        for name, annotation in field_types(kind).items()
        if isinstance(annotation, annotations.Unresolved)
    ]


def _why(error: Exception) -> str:
    """Return what is to be said beside that the value is of another type."""
    if not isinstance(error, ValueNotReadableError):
        return f": {error}"
    return "" if error.path == "$" else f": at {error.path}: {error.why}"


def _is_required(field: dataclasses.Field[object]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _unknown(name: str, fields: Mapping[str, object]) -> str:
    meant = suggest(name, fields)
    question = f", did you mean '{meant}'?" if meant else ""
    return f"there is no '{name}'{question} (fields: {', '.join(fields) or 'none'})"
