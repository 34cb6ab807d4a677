"""The pins are exact, complete, and within what pyproject.toml allows."""

import ast
import importlib.metadata
import sys
import tomllib
from collections.abc import Iterator

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.architecture.sources import ROOT, modules

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def pins(*names: str) -> dict[str, str]:
    """Return versions by canonical name; a line that is not one exact pin fails the test."""
    found: dict[str, str] = {}
    for name in names:
        for line in (ROOT / name).read_text(encoding="utf-8").splitlines():
            if line and not line.startswith("#"):
                requirement = Requirement(line)
                (specifier,) = requirement.specifier
                assert specifier.operator == "=="
                assert requirement.url is None
                found[str(canonicalize_name(requirement.name))] = specifier.version
    return found


def needed(requirements: list[str]) -> Iterator[Requirement]:
    """Yield the requirements and what they require in turn, as far as this platform needs it."""
    waiting, seen = [Requirement(text) for text in requirements], set()
    while waiting:
        requirement = waiting.pop()
        if str(requirement) in seen:
            continue
        seen.add(str(requirement))
        yield requirement
        for text in importlib.metadata.requires(requirement.name) or []:
            further = Requirement(text)
            extras = [{"extra": extra} for extra in requirement.extras] or [{"extra": ""}]
            if further.marker is None or any(map(further.marker.evaluate, extras)):
                waiting.append(further)


@pytest.mark.parametrize(
    ("files", "requirements"),
    [
        pytest.param(
            ["requirements.txt"],
            PROJECT["project"]["dependencies"]
            + PROJECT["project"]["optional-dependencies"]["embedded"]
            + PROJECT["build-system"]["requires"],
            id="run",
        ),
        pytest.param(
            ["requirements.txt", "requirements-dev.txt"],
            [
                *pins("requirements-dev.txt"),
                *PROJECT["project"]["optional-dependencies"]["testing"],
                "pyright[nodejs]",
                "sqlalchemy[asyncio]",
            ],
            id="test",
        ),
    ],
)
def test_everything_needed_is_pinned_in_the_range_asked_for(
    files: list[str], requirements: list[str]
) -> None:
    pinned = pins(*files)
    required = [(canonicalize_name(r.name), r.specifier) for r in needed(requirements)]

    assert {name for name, _ in required} - pinned.keys() == set()
    assert [f"{name}{span}" for name, span in required if pinned[name] not in span] == []


def test_everything_imported_is_asked_for() -> None:
    extras = PROJECT["project"]["optional-dependencies"].values()
    asked_for = [*PROJECT["project"]["dependencies"], *(text for extra in extras for text in extra)]
    names = {canonicalize_name(Requirement(text).name) for text in asked_for}
    providers = importlib.metadata.packages_distributions()

    missing = {
        package
        for package in _imported() - sys.stdlib_module_names - {"flowstone"}
        if not names & {canonicalize_name(name) for name in providers.get(package, ())}
    }

    assert missing == set()


def _imported() -> set[str]:
    """Return the top-level packages that the package's modules import, wherever they do."""
    return {
        name.partition(".")[0]
        for module in modules()
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8")))
        for name in _names(node)
    }


def _names(node: ast.AST) -> list[str]:
    match node:
        case ast.Import():
            return [alias.name for alias in node.names]
        case ast.ImportFrom(module=str(origin)):
            return [origin]
    return []
