"""
Foreign exceptions as errors of ours: dispatch over the exception's classes.

Applied at two borders only: around the author's function, and around a call of a contract. Plugins
register what the libraries raise that they bring in; the nearest class in the exception's MRO wins.
"""

from collections.abc import Callable
from typing import ClassVar, TypeVar

from flowstone.core.errors import (
    AssetFunctionError,
    FlowStoneError,
    ValidationFailedError,
    reason_text,
)

E = TypeVar("E", bound=BaseException)

Conversion = Callable[[BaseException], FlowStoneError]


class ErrorNormalizer:
    """
    Turns any exception into a `FlowStoneError`.

    What nobody registered becomes the border's own error, not retryable. Known from the start:
    ``ConnectionError`` and ``TimeoutError`` are retryable, and pydantic's ``ValidationError`` is a
    `ValidationFailedError`. Subclassing is not needed: instances are independent.
    """

    contract_version: ClassVar[str] = "1.0.0"
    minimum_version: ClassVar[str] = "1.0.0"

    def __init__(self) -> None:
        self._conversions: dict[type[BaseException] | str, Conversion | None] = {}
        self.mark_retryable(ConnectionError, TimeoutError)
        self.register("pydantic_core._pydantic_core.ValidationError", _validation_failed)

    def register(self, kind: type[E] | str, convert: Callable[[E], FlowStoneError]) -> None:
        """
        Say what an exception of this class, or of a subclass, becomes.

        Registering a class again replaces what was there.

        Args:
            kind: The class, or its ``module.qualname`` where importing it must be avoided.
            convert: Returns the error; its ``__cause__`` is set to the exception.
        """

        def checked(error: BaseException) -> FlowStoneError:
            return convert(error)  # type: ignore[arg-type]  # looked up by its class

        self._conversions[kind] = checked

    def mark_retryable(self, *kinds: type[BaseException]) -> None:
        """Say that trying again can help; what the error is called is left to the border."""
        for kind in kinds:
            self._conversions[kind] = None

    def known(self) -> list[str]:
        """Return the qualified names of the classes that are registered, sorted."""
        return sorted(
            kind if isinstance(kind, str) else f"{kind.__module__}.{kind.__qualname__}"
            for kind in self._conversions
        )

    def normalize(
        self, error: BaseException, *, otherwise: type[FlowStoneError] = AssetFunctionError
    ) -> FlowStoneError:
        """
        Return the error as one of ours, with the original as its ``__cause__``.

        Args:
            otherwise: What an exception becomes that nobody registered a conversion for: the
                border's own error.

        Returns:
            The same object, if it is one of ours already.
        """
        if isinstance(error, FlowStoneError):
            return error
        for kind in type(error).__mro__:
            key = kind if kind in self._conversions else f"{kind.__module__}.{kind.__qualname__}"
            if key in self._conversions:
                convert = self._conversions[key]
                if convert is None:
                    return _wrapped(error, otherwise, retryable=True)
                normalized = convert(error)
                normalized.__cause__ = error
                return normalized
        return _wrapped(error, otherwise)


def _wrapped(
    error: BaseException, kind: type[FlowStoneError], *, retryable: bool | None = None
) -> FlowStoneError:
    if issubclass(kind, AssetFunctionError):
        return kind.wrapping(error, retryable=retryable)
    wrapped = kind(reason_text(error), retryable=retryable)
    wrapped.__cause__ = error
    return wrapped


def _validation_failed(error: BaseException) -> FlowStoneError:
    return ValidationFailedError(f"Validation failed: {error}")
