"""Imports go downwards only, and no exception is written into the configuration."""

import tomllib

from tests.architecture.sources import ROOT, tool


def test_imports_keep_the_contracts() -> None:
    ended = tool("lint-imports", "--no-cache")

    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_the_contracts_make_no_exceptions() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = project["tool"]["importlinter"]["contracts"]

    assert [c["name"] for c in contracts if c.get("ignore_imports")] == []
