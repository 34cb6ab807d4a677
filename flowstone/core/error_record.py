"""
What is kept of an error in a row: JSON that every database takes and a person can read.

::

    {"type": "KeyError", "message": "Asset execution failed: KeyError: 'id'",
     "code": "execution_error", "retryable": false, "traceback": "Traceback …",
     "causes": [{"type": "KeyError", "message": "'id'"}], "context": {…}}

``type`` is the author's exception where the author's code raised, and otherwise the error's own.
An author may raise anything, so nothing here trusts ``__str__``: texts are bounded, and NUL and
lone surrogates, which Postgres refuses, are written as escapes.
"""

import json
import traceback
from collections.abc import Iterator, Mapping

from flowstone.core.errors import AssetFunctionError, FlowStoneError
from flowstone.core.errors.root import printable
from flowstone.core.json_value import JsonValue

TRACEBACK_BYTES = 8 * 1024
MESSAGE_BYTES = 4 * 1024
CAUSES = 10
FRAMES = 50
CONTEXT_DEPTH = 5


def describe(error: BaseException, *, with_traceback: bool = True) -> dict[str, JsonValue]:
    """
    Return the record of an error.

    Args:
        with_traceback: Leave it out where it says nothing, such as for a timeout.
    """
    author = error.__cause__ if isinstance(error, AssetFunctionError) else None
    record: dict[str, JsonValue] = {
        "type": type_name(author or error),
        "message": _message(error),
        "code": error.code if isinstance(error, FlowStoneError) else "unknown",
        "retryable": error.retryable if isinstance(error, FlowStoneError) else False,
    }
    causes: list[JsonValue] = [
        {"type": type_name(cause), "message": _message(cause)} for cause in _causes(error)
    ]
    if causes:
        record["causes"] = causes
    if isinstance(error, FlowStoneError) and error.context:
        record["context"] = _jsonable(error.context, CONTEXT_DEPTH)
    if with_traceback:
        record["traceback"] = traceback_text(author or error)
    return record


def type_name(error: BaseException) -> str:
    """Return the exception's class, with its module unless it is a builtin."""
    kind = type(error)
    if kind.__module__ == "builtins":
        return kind.__qualname__
    return harmless(f"{kind.__module__}.{kind.__qualname__}")


def traceback_text(error: BaseException) -> str:
    """Return the last frames of the traceback, causes included, at most 8 KiB of UTF-8."""
    try:
        text = "".join(traceback.format_exception(error, limit=-FRAMES))
    except Exception as failure:
        text = f"{type_name(error)} (its traceback cannot be printed: {type_name(failure)})"
    return shorten(harmless(text), TRACEBACK_BYTES)


def harmless(text: str) -> str:
    """Write NUL and lone surrogates as the escapes that stand for them."""
    return text.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode("utf-8")


def shorten(text: str, max_bytes: int) -> str:
    """Cut the middle out of a text that is longer than ``max_bytes`` of UTF-8, and say so."""
    encoded = text.encode("utf-8")
    if len(encoded) <= max_bytes:
        return text
    notice = f"\n… {len(encoded) - max_bytes} bytes left out …\n"
    half = max(0, (max_bytes - len(notice.encode("utf-8")) - len(str(max_bytes))) // 2)
    head = encoded[:half].decode("utf-8", "ignore")
    tail = encoded[len(encoded) - half :].decode("utf-8", "ignore")
    return f"{head}{notice}{tail}"


def _message(error: BaseException) -> str:
    return shorten(harmless(printable(error)), MESSAGE_BYTES)


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen = {id(error)}
    for _ in range(CAUSES):
        cause = error.__cause__
        if cause is None and not error.__suppress_context__:
            cause = error.__context__
        if cause is None or id(cause) in seen:
            return
        seen.add(id(cause))
        yield cause
        error = cause


def _jsonable(value: object, depth: int) -> JsonValue:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return int(value)
    if isinstance(value, Mapping) and depth:
        return {
            shorten(harmless(printable(key)), MESSAGE_BYTES): _jsonable(item, depth - 1)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple) and depth:
        return [_jsonable(item, depth - 1) for item in value]
    return shorten(harmless(printable(value)), MESSAGE_BYTES)


def read_record(text: str | None) -> Mapping[str, JsonValue]:
    """Return the record that a row keeps; empty when there is none."""
    record = json.loads(text) if text else {}
    return record if isinstance(record, dict) else {}
