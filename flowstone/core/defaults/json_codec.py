"""
The codec of the standard library: JSON text, and back by annotation.

Encoding needs no annotation: JSON values, dataclasses, named tuples, enums, dates, durations,
decimals, UUIDs, bytes, paths, sets and pydantic models each have one form (`json_scalars`).
Decoding goes by the reader's annotation, so what is stored as the text ``2024-01-01`` is a ``date``
to who asks for one. ``object``, ``Any`` and ``JsonValue`` give plain JSON.

Nothing is ever pickled. A value that would come back as something else is refused when it is
encoded: see `json_writing`.
"""

import json
from types import NoneType
from typing import NoReturn

from flowstone.core.contracts.codec import Codec
from flowstone.core.defaults.json_reading import Readers
from flowstone.core.defaults.json_writing import write
from flowstone.core.defaults.unreadable import Unreadable
from flowstone.core.errors import ValueNotReadableError, ValueNotStorableError

_SMALL = 2**63


class JsonCodec(Codec):
    """Values as JSON text; safe to share between applications and threads."""

    def __init__(self) -> None:
        self._readers = Readers()

    def __getstate__(self) -> dict[str, object]:
        """Leave out what it has learned of types: that is functions, which do not pickle."""
        return {name: value for name, value in vars(self).items() if name != "_readers"}

    def __setstate__(self, state: dict[str, object]) -> None:
        vars(self).update(state)
        self._readers = Readers()

    def encode(self, value: object, *, max_bytes: int | None = None) -> str:
        """Return the value as JSON text; see `Codec.encode`."""
        kind = type(value)
        if kind is bool:
            text = "true" if value else "false"
        elif kind is NoneType:
            text = "null"
        elif kind is int and -_SMALL < value < _SMALL:  # type: ignore[operator]  # an int
            text = repr(value)
        else:
            text = write(value)
        # A character has at most four bytes of UTF-8.
        if max_bytes is not None and len(text) * 4 > max_bytes:
            size = len(text.encode("utf-8"))
            if size > max_bytes:
                raise ValueNotStorableError(
                    f"{size:,} bytes of JSON are more than the {max_bytes:,} that are kept here",
                    advice="choose an IO manager for large values, or store a reference",
                )
        return text

    def decode(self, text: str, annotation: object = object) -> object:
        """Return the value that the text stands for; see `Codec.decode`."""
        try:
            plain, end = _decoder.raw_decode(text)
            if end != len(text):
                plain = _decoder.decode(text)
        except (ValueError, RecursionError) as error:
            raise ValueNotReadableError(f"it is not JSON: {error}") from None
        try:
            try:
                read = self._readers.known[annotation]
            except (KeyError, TypeError):
                read = self._readers.of(annotation)
            return plain if read is None else read(plain)
        except Unreadable as error:
            raise error.readable_error() from None
        except RecursionError:
            raise ValueNotReadableError("it has too many levels in one another") from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


_decoder = json.JSONDecoder(parse_constant=_refuse_constant)
