"""
The annotations of an author's function as types, and types as text.

Annotations may be strings (``from __future__ import annotations``), name classes that are local to
the function's surroundings, or names imported under ``if TYPE_CHECKING:`` only, where linters like
to move imports. For the last, the module's own import statement is carried out when the name is
needed: by then every module is loaded, so that it cannot become circular.
"""

import ast
import builtins
import functools
import importlib
import importlib.util
import inspect
import linecache
import sys
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass

NoneType = type(None)


@dataclass(frozen=True, slots=True)
class Unresolved:
    """An annotation that does not name a type, and why."""

    text: str
    reason: str


def resolve(
    function: Callable[..., object], local_names: Mapping[str, object] | None = None
) -> dict[str, object]:
    """
    Return parameter (and ``return``) → type, ``Annotated`` kept, or `Unresolved`.

    Each annotation is resolved on its own, so that one that fails does not hide the others.

    Args:
        local_names: What was in scope where a nested function was defined.
    """
    plain = innermost(function)
    module_names: dict[str, object] = getattr(plain, "__globals__", {})
    names = _Names({**(local_names or {}), **_closure(plain)}, module_names)
    return {
        parameter: _resolve(annotation, module_names, names)
        for parameter, annotation in inspect.get_annotations(plain).items()
    }


def resolve_fields(kind: type) -> dict[str, object]:
    """Return the annotated attributes of a class and its bases in the same way."""
    fields: dict[str, object] = {}
    for owner in reversed(kind.__mro__):
        module_names = vars(sys.modules.get(owner.__module__, builtins))
        names = _Names(vars(owner), module_names)
        for field, annotation in inspect.get_annotations(owner).items():
            fields[field] = _resolve(annotation, module_names, names)
    return fields


def innermost(function: Callable[..., object]) -> Callable[..., object]:
    """Return the function that the author wrote, below partials, methods and wrappers."""
    while True:
        if isinstance(function, functools.partial):
            function = function.func
        elif isinstance(function, types.MethodType):
            function = function.__func__
        elif hasattr(function, "__wrapped__"):
            function = function.__wrapped__
        else:
            return function


def _resolve(annotation: object, module_names: dict[str, object], names: "_Names") -> object:
    if isinstance(annotation, type):
        return annotation
    holder = types.SimpleNamespace(__annotations__={"it": annotation})
    try:
        return typing.get_type_hints(holder, module_names, names, include_extras=True)["it"]
    except Exception as error:  # evaluates the author's expression, which may raise anything
        text = annotation if isinstance(annotation, str) else type_text(annotation)
        return Unresolved(text, str(error) or type(error).__name__)


def _closure(function: Callable[..., object]) -> dict[str, object]:
    names = getattr(getattr(function, "__code__", None), "co_freevars", ())
    found = {}
    for name, cell in zip(names, getattr(function, "__closure__", None) or (), strict=True):
        try:
            found[name] = cell.cell_contents
        except ValueError:
            continue  # not assigned yet
    return found


class _Names(dict[str, object]):
    """What an annotation may refer to besides builtins."""

    def __init__(self, near: Mapping[str, object], module_names: Mapping[str, object]) -> None:
        super().__init__(near)
        self._module_names = module_names

    def __missing__(self, name: str) -> object:
        if name in self._module_names:
            return self._module_names[name]
        file, module = self._module_names.get("__file__"), self._module_names.get("__name__")
        imported = _type_checking_imports(str(file), str(module)).get(name)
        if imported is None:
            raise KeyError(name)
        module, attribute = imported
        try:
            found: object = importlib.import_module(module)
        except ImportError as error:
            raise NameError(f"'{name}' is imported for type checkers only: {error}") from error
        if attribute:
            found = _attribute(module, found, attribute)
        self[name] = found
        return found


def _attribute(module: str, found: object, attribute: str) -> object:
    try:
        return getattr(found, attribute)
    except AttributeError:
        return importlib.import_module(f"{module}.{attribute}")


@functools.lru_cache(maxsize=64)
def _type_checking_imports(file: str, module: str) -> Mapping[str, tuple[str, str]]:
    """Return name → (module, attribute) of what is imported under ``if TYPE_CHECKING:``."""
    try:
        tree = ast.parse("".join(linecache.getlines(file)))
    except SyntaxError:
        return {}
    found: dict[str, tuple[str, str]] = {}
    for block in ast.walk(tree):
        if not (isinstance(block, ast.If) and "TYPE_CHECKING" in ast.unparse(block.test)):
            continue
        for statement in block.body:
            match statement:
                case ast.Import():
                    for alias in statement.names:
                        whole = alias.name if alias.asname else alias.name.partition(".")[0]
                        found[alias.asname or whole] = (whole, "")
                case ast.ImportFrom():
                    origin = _absolute(statement, module)
                    for alias in statement.names:
                        found[alias.asname or alias.name] = (origin, alias.name)
    return found


def _absolute(statement: ast.ImportFrom, module: str) -> str:
    if not statement.level:
        return statement.module or ""
    package = getattr(sys.modules.get(module), "__package__", "") or ""
    relative = "." * statement.level + (statement.module or "")
    return importlib.util.resolve_name(relative, package)


def type_text(annotation: object) -> str:
    """Return a type as people write it: ``list[int]``, ``Orders | None``."""
    if annotation is None or annotation is NoneType:
        return "None"
    if annotation is ...:
        return "..."
    if isinstance(annotation, Unresolved | typing.ForwardRef):
        return annotation.text if isinstance(annotation, Unresolved) else annotation.__forward_arg__
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return type_text(arguments[0])
    if origin is typing.Literal:
        return f"Literal[{', '.join(map(repr, arguments))}]"
    if is_union(annotation):
        return " | ".join(map(type_text, arguments))
    if isinstance(annotation, list):
        return f"[{', '.join(map(type_text, annotation))}]"
    if origin is not None:
        return f"{type_text(origin)}[{', '.join(map(type_text, arguments)) or '()'}]"
    name = getattr(annotation, "__qualname__", None) or getattr(annotation, "__name__", None)
    return name.rpartition("<locals>.")[2] if name else repr(annotation).removeprefix("typing.")


def is_union(annotation: object) -> bool:
    """Whether the type is ``A | B`` or ``Union[A, B]``, ``Optional`` included."""
    return typing.get_origin(annotation) in (typing.Union, types.UnionType)


def union_of(members: list[object]) -> object:
    """Return the union of types; a single one is itself."""
    union = members[0]
    for member in members[1:]:
        union = typing.Union[union, member]  # noqa: UP007 - the members are not known before
    return union


def without_marks(annotation: object) -> object:
    """Return the type below ``Annotated``."""
    if typing.get_origin(annotation) is typing.Annotated:
        bare: object = typing.get_args(annotation)[0]
        return bare
    return annotation


def accepts_none(annotation: object) -> bool:
    """Whether None is a value of the type, as far as that can be seen."""
    annotation = without_marks(annotation)
    if annotation in (None, NoneType, object, typing.Any):
        return True
    if is_union(annotation):
        return any(map(accepts_none, typing.get_args(annotation)))
    if typing.get_origin(annotation) is typing.Literal:
        return None in typing.get_args(annotation)
    return isinstance(annotation, typing.TypeVar | Unresolved)
