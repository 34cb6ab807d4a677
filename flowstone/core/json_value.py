"""What JSON is in Python."""

from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    JsonValue: TypeAlias = (
        bool | int | float | str | list["JsonValue"] | dict[str, "JsonValue"] | None
    )
else:
    # A recursive alias cannot be resolved from an author's annotation: its inner name is looked up
    # in the author's module. Any says the same to a codec: plain JSON.
    JsonValue = Any

JsonText = str
"""A JSON document as text, already checked by the codec."""
