"""How values become text and come back: the codec's contract, and what JSON is in Python."""

from abc import ABC, abstractmethod
from typing import ClassVar

from flowstone.core.json_value import JsonValue

__all__ = ["Codec", "JsonValue"]


class Codec(ABC):
    """
    Turns values into JSON text, and text into what the reader's annotation says.

    Obligations: what `encode` accepts, `decode` gives back equal under the annotation of its type,
    and key order and the sign of zero survive. What would come back as something else is refused
    when it is encoded, with the place in the value. Text is valid UTF-8 without NUL. An
    implementation keeps no state of a call, and is called from several threads.
    """

    contract_version: ClassVar[str] = "1.0.0"
    minimum_version: ClassVar[str] = "1.0.0"

    @abstractmethod
    def encode(self, value: object, *, max_bytes: int | None = None) -> str:
        """
        Return the value as JSON text.

        Args:
            max_bytes: The most that the text may have, in bytes of UTF-8; None is no limit.

        Raises:
            ValueNotStorableError: It cannot be encoded, or is too large.
        """

    @abstractmethod
    def decode(self, text: str, annotation: object = object) -> object:
        """
        Return the value that the text stands for.

        Args:
            annotation: A resolved type annotation; ``object`` and ``Any`` give plain JSON.

        Raises:
            ValueNotReadableError: The text is not JSON, is not what the annotation says, or the
                annotation is not one that this codec knows.
        """
