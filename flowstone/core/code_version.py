"""
Which code computes an asset: a text that changes when its functions do.

It is the hash of the functions' syntax trees without decorators, annotations and docstrings, so
that comments, formatting and the rest of the file do not count. A function whose source cannot be
found (made by ``exec``, several lambdas on a line) is known by its bytecode, which also changes
with the version of Python. Functions that are called by it, and values from outside, do not count:
that is what ``version=`` is for.
"""

import ast
import hashlib
import linecache
import types
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from flowstone.core.annotations import innermost

_LENGTH = 16
_Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


def code_version(functions: Iterable[Callable[..., object]], fingerprint: str = "") -> str:
    """
    Return the version of functions that work together; 16 hexadecimal digits.

    Args:
        fingerprint: What else decides what comes of them; see `Strategy.fingerprint`.
    """
    shapes = [_shape(function) for function in functions]
    if fingerprint:
        shapes.append(fingerprint)
    return hashlib.sha256("\0".join(shapes).encode()).hexdigest()[:_LENGTH]


def _shape(function: Callable[..., object]) -> str:
    plain = innermost(function)
    code = getattr(plain, "__code__", None)
    if not isinstance(code, types.CodeType):
        return f"{type(plain).__qualname__} {getattr(plain, '__qualname__', '')}"
    linecache.checkcache(code.co_filename)
    lines = linecache.getlines(code.co_filename)
    if not lines:
        return _bytecode(code, plain.__doc__)
    source = _sources.get(code.co_filename)
    if source is None or source.lines is not lines:
        while len(_sources) >= _KEPT_SOURCES:
            del _sources[next(iter(_sources))]
        source = _sources[code.co_filename] = _Source(lines)
    return source.shape(code.co_firstlineno, code.co_name) or _bytecode(code, plain.__doc__)


class _Source:
    """A file's functions by their first line; kept, because a file usually has many assets."""

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines
        self._functions: defaultdict[tuple[int, str], list[_Function]] = defaultdict(list)
        self._shapes: dict[tuple[int, str], str] = {}
        try:
            tree = ast.parse("".join(lines))
        except (SyntaxError, ValueError):
            return
        for node in ast.walk(tree):
            match node:
                case ast.FunctionDef() | ast.AsyncFunctionDef():
                    first = min([node.lineno, *(mark.lineno for mark in node.decorator_list)])
                    self._functions[first, node.name].append(node)
                case ast.Lambda():
                    self._functions[node.lineno, "<lambda>"].append(node)

    def shape(self, line: int, name: str) -> str | None:
        """Return the function's shape, or None when it cannot be told from its neighbors."""
        place = line, name
        if place not in self._shapes:
            functions = self._functions.get(place, [])
            if len(functions) != 1:
                return None
            self._shapes[place] = _normalized(functions[0])
        return self._shapes[place]


_KEPT_SOURCES = 8
_sources: dict[str, _Source] = {}


def _normalized(node: _Function) -> str:
    arguments = node.args
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    defaults = [*arguments.defaults, *filter(None, arguments.kw_defaults)]
    if isinstance(node, ast.Lambda):
        body: Sequence[ast.AST] = [node.body]
    else:
        has_docstring = ast.get_docstring(node, clean=False) is not None
        body = node.body[1:] if has_docstring else node.body
    parts = [type(node).__name__, *(it.arg for it in named), *map(ast.unparse, [*defaults, *body])]
    return "\n".join(parts)


def _bytecode(code: types.CodeType, docstring: str | None = None) -> str:
    constants = [it for it in code.co_consts if docstring is None or it != docstring]
    names = [*code.co_names, *code.co_varnames, *code.co_freevars]
    return "\n".join([code.co_code.hex(), *names, *map(_constant, constants)])


def _constant(value: object) -> str:
    if isinstance(value, types.CodeType):
        return _bytecode(value)
    if isinstance(value, frozenset):
        return f"frozenset({sorted(map(repr, value))})"
    if isinstance(value, tuple):
        return f"({', '.join(map(_constant, value))})"
    return repr(value)
