"""The root of every error, and how a foreign reason reads in a message."""

import enum
from collections.abc import Callable, Iterable, Mapping
from typing import ClassVar


class FlowStoneError(Exception):
    """
    Something in FlowStone failed.

    Args:
        message: What happened; without it, the first line of the class's docstring.
        retryable: Whether trying again can help; without it, what the class says.
        context: Further facts, JSON-safe, kept beside the message in rows and logs.
    """

    code: ClassVar[str] = "error"
    retryable: bool = False

    def __init__(
        self,
        message: str | None = None,
        *,
        retryable: bool | None = None,
        context: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip().partition("\n")[0])
        self.context: dict[str, object] = dict(context or {})
        if retryable is not None:
            self.retryable = retryable

    @property
    def may_pass(self) -> bool:
        """Whether another attempt may do better, be it that the same call would fail again."""
        return self.retryable

    def __reduce__(self) -> tuple[object, ...]:
        return _restored, (type(self), self.args), self.__dict__


def _restored(kind: type[FlowStoneError], arguments: tuple[object, ...]) -> FlowStoneError:
    return kind.__new__(kind, *arguments)


def reason_text(reason: object) -> str:
    """
    Say why in words, never empty.

    A text is taken as it is; an exception is its type and message, a plain ``Exception`` or
    ``RuntimeError`` its message alone; a member of an enum is its name.
    """
    if isinstance(reason, enum.Enum):
        return reason.name or repr(reason)
    if isinstance(reason, str):
        return reason if reason.strip() else "no reason given"
    if isinstance(reason, type):
        return reason.__qualname__
    if not isinstance(reason, BaseException):
        return printable(reason, repr)
    name, message = type(reason).__qualname__, printable(reason)
    if not message:
        return name
    plain = type(reason) in (Exception, RuntimeError) or isinstance(reason, FlowStoneError)
    return message if plain else f"{name}: {message}"


def printable(value: object, render: Callable[[object], str] = str) -> str:
    """Render a value of which the author's own ``__str__`` or ``__repr__`` may fail."""
    try:
        return render(value)
    except Exception as error:
        return f"<{type(value).__qualname__} that cannot be printed: {type(error).__qualname__}>"


def unknown(sentence: str, known: Iterable[str], suggestion: str | None) -> str:
    """Complete "there is no x" with what there is and what was probably meant."""
    names = list(known)
    shown = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
    question = f" Did you mean '{suggestion}'?" if suggestion else ""
    return f"{sentence}.{question} Known: {shown or 'none'}."
