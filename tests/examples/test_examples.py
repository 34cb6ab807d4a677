"""Every example runs, and prints what it says it prints."""

import ast
import asyncio
import textwrap
from pathlib import Path

import pytest

from tests.architecture.sources import ROOT, python

FOLDER = ROOT / "examples"
IN_MEMORY = {
    "daily_report",
    "ecs_callback",
    "failures",
    "map_state",
    "parallel_enrichment",
    "region_router",
    "trade_with_approval",
}
ON_POSTGRES = {"order_in_transaction"}


def promised(name: str) -> str:
    """Return what an example's docstring says that it prints."""
    text = (FOLDER / f"{name}.py").read_text(encoding="utf-8")
    docstring = ast.get_docstring(ast.parse(text)) or ""
    assert f"python examples/{name}.py" in docstring
    return textwrap.dedent(docstring.partition("prints::\n\n")[2]) + "\n"


@pytest.mark.parametrize("name", sorted(IN_MEMORY))
def test_an_example_runs_in_memory(name: str, tmp_path: Path) -> None:
    ended = python(str(FOLDER / f"{name}.py"), cwd=tmp_path)

    assert (ended.stdout, ended.stderr) == (promised(name), "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", sorted(ON_POSTGRES))
async def test_an_example_runs_on_postgres(name: str, bare_dsn: str) -> None:
    file = str(FOLDER / f"{name}.py")

    ended = await asyncio.to_thread(python, file, env={"FLOWSTONE_DSN": bare_dsn})

    assert (ended.stdout, ended.stderr) == (promised(name), "")


def test_no_example_is_left_out() -> None:
    assert {it.stem for it in FOLDER.glob("*.py")} == IN_MEMORY | ON_POSTGRES
