"""
An exception on its way from a child process to its worker.

It arrives as what it was, class and attributes, so that ``Retry(on=…)`` and the error normalizer
judge it as if a thread had raised it; its traceback comes along as a note. One that cannot be
rebuilt is stood in for by an exception with the same names and the same message, which is of the
nearest of its classes that can be imported.
"""

import base64
import importlib
import pickle
import types
from collections.abc import Mapping, Sequence
from functools import reduce
from itertools import pairwise
from typing import Any, TypeGuard

from flowstone.core.error_record import (
    CAUSES,
    MESSAGE_BYTES,
    harmless,
    shorten,
    traceback_text,
)
from flowstone.core.errors import FlowStoneError
from flowstone.core.errors.root import printable

LARGEST = 256 * 1024
"""Bytes of an exception that are worth to be carried; a larger one is stood in for."""

_SCRIPT = {"__mp_main__": "__main__"}
"""What a child calls the module of the script, and what its worker calls it."""


def dump(error: BaseException) -> dict[str, object]:
    """Return the exception and its causes as JSON."""
    chain = [error]
    while len(chain) <= CAUSES:
        last = chain[-1]
        cause = last.__cause__ or (None if last.__suppress_context__ else last.__context__)
        if cause is None or any(cause is it for it in chain):
            break
        chain.append(cause)
    return {
        "chain": [_dump_one(it) for it in chain],
        "traceback": traceback_text(error),
    }


def load(said: Mapping[str, Any], pid: int) -> BaseException:
    """Return the exception, with what it was raised from."""
    chain = [_load_one(it) for it in said["chain"]]
    for error, cause in pairwise(chain):
        error.__cause__ = cause
    chain[0].add_note(f"in child process {pid}:\n{said['traceback']}")
    return chain[0]


def _dump_one(error: BaseException) -> dict[str, object]:
    try:
        pickled = base64.b64encode(pickle.dumps(error)).decode()
    except Exception:  # the author's state may refuse in any way
        pickled = ""
    return {
        "classes": [[it.__module__, it.__qualname__] for it in type(error).__mro__],
        "message": _message(error),
        "retryable": isinstance(error, FlowStoneError) and error.retryable,
        "pickled": pickled if len(pickled) <= LARGEST else "",
    }


def _load_one(said: Mapping[str, Any]) -> BaseException:
    if said["pickled"]:
        error: object = None
        try:
            # From our own child, over a socket that nobody else has.
            error = pickle.loads(base64.b64decode(said["pickled"]))
        except Exception:  # a constructor that wants other arguments, a class that is not here
            pass
        is_harmless = isinstance(error, BaseException) and _is_harmless(type(error))
        if isinstance(error, BaseException) and is_harmless and _message(error) == said["message"]:
            return error
    return _stand_in(said["classes"], said["message"], retryable=said["retryable"])


def _stand_in(
    classes: Sequence[tuple[str, str]], message: str, *, retryable: bool
) -> BaseException:
    nearest = next((it for it in map(_imported, classes) if it is not None), Exception)
    try:
        error = _made(classes[0], nearest, message)
    except Exception:  # a metaclass, or a constructor, of the author's
        error = _made(classes[0], Exception, message)
    if isinstance(error, FlowStoneError):
        error.context, error.retryable = {}, retryable
    return error


def _made(named: tuple[str, str], nearest: type[BaseException], message: str) -> BaseException:
    module, path = named
    kind: type[BaseException] = types.new_class(path.rpartition(".")[2], (nearest,))
    kind.__module__, kind.__qualname__ = _SCRIPT.get(module, module), path
    kind.__str__ = lambda _: message  # type: ignore[method-assign]
    return kind.__new__(kind)  # its constructor may want anything


def _imported(named: tuple[str, str]) -> type[BaseException] | None:
    module, path = named
    try:
        owner: object = importlib.import_module(_SCRIPT.get(module, module))
        found = reduce(getattr, path.split("."), owner)
    except Exception:  # also what importing it raises
        return None
    return found if _is_harmless(found) else None


def _is_harmless(kind: object) -> TypeGuard[type[BaseException]]:
    """Whether it is an exception that ends no more than the one who raises it."""
    return (
        isinstance(kind, type)
        and issubclass(kind, BaseException)
        and not issubclass(kind, KeyboardInterrupt)
    )


def _message(error: BaseException) -> str:
    return shorten(harmless(printable(error)), MESSAGE_BYTES)
