"""Core imports the standard library and itself, also inside functions and for types only."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.architecture.sources import PACKAGE, ROOT, modules


def test_core_imports_the_standard_library_and_itself() -> None:
    foreign = [
        f"{module.relative_to(ROOT)}:{line}: {name}"
        for module in modules(PACKAGE / "core")
        for line, name in _imports(module)
        if not _belongs_to_core(name)
    ]

    assert foreign == []


def test_the_top_level_imports_core_only() -> None:
    foreign = [
        f"{line}: {name}"
        for line, name in _imports(PACKAGE / "__init__.py")
        if not _belongs_to_core(name)
    ]

    assert foreign == []


def _belongs_to_core(name: str) -> bool:
    return name.partition(".")[0] in sys.stdlib_module_names or f"{name}.".startswith(
        "flowstone.core."
    )


def _imports(module: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"), module)):
        match node:
            case ast.Import():
                yield from ((node.lineno, alias.name) for alias in node.names)
            case ast.ImportFrom(level=0, module=str(origin)):
                yield node.lineno, origin
            case ast.ImportFrom():
                yield node.lineno, f"a relative import of {node.module or '.'}"
