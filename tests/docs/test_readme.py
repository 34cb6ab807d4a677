"""Whoever types what the README says gets what it says."""

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from tests.architecture.sources import ROOT
from tests.cli.invocation import Process
from tests.docs.code_blocks import blocks, links

PAGE = "README.md"
PAGES = [PAGE, "sql/README.md", *sorted(f"docs/{it.name}" for it in (ROOT / "docs").glob("*.md"))]
MEMORY, POSTGRES = "A pipeline in memory", "The same on Postgres"


def one(language: str, heading: str) -> str:
    """Return the text of a heading's first block of a language."""
    return next(it.text for it in blocks(PAGE, language) if it.heading == heading)


def shown(heading: str) -> tuple[list[str], str]:
    """Return the command of a heading's console, and what the README says it prints."""
    command, _, output = one("console", heading).partition("\n")
    return shlex.split(command.removeprefix("$ ")), output


def commands() -> Iterator[list[str]]:
    """Yield what is typed to prepare and serve the database."""
    for line in one("sh", POSTGRES).splitlines():
        yield shlex.split(line, comments=True)


def python(command: list[str]) -> str:
    """Run ``python file.py`` and return what it printed."""
    assert command[0] == "python"
    ended = subprocess.run(
        [sys.executable, *command[1:]],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with the files that the README has its reader write."""
    for name in os.environ:
        if name.startswith("FLOWSTONE_") or name == "DATABASE_URL":
            monkeypatch.delenv(name)
    for block in blocks(PAGE, "python"):
        (named,) = re.findall(r"`(\w+\.py)`", block.before)
        (tmp_path / named).write_text(block.text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_pipeline_runs_in_memory(folder: Path) -> None:
    command, output = shown(MEMORY)

    assert python(command) == output
    assert [it.name for it in folder.iterdir() if it.suffix != ".py"] == []


@pytest.mark.timeout(300)
async def test_the_same_pipeline_runs_on_postgres(
    folder: Path, bare_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    export, migrate, worker = commands()
    named = dict(it.split("=", 1) for it in export[1:])
    monkeypatch.setenv("FLOWSTONE_APP", named["FLOWSTONE_APP"])
    monkeypatch.setenv("FLOWSTONE_DSN", bare_dsn)
    assert export[0] == "export"
    assert named.keys() == {"FLOWSTONE_APP", "FLOWSTONE_DSN"}
    assert [migrate[0], worker[0]] == ["flowstone", "flowstone"]

    with Process(*migrate[1:]) as migrating:
        assert migrating.ends().exit_code == 0
    with Process(*worker[1:]) as working:
        working.says("serves default")
        command, output = shown(POSTGRES)
        assert python(command) == output
        working.signal(signal.SIGINT)
        assert working.ends().exit_code == 0

    connection = await asyncpg.connect(bare_dsn)
    rows = await connection.fetch(one("sql", POSTGRES))
    await connection.close()
    assert [list(rows[0].keys()), *([str(it) for it in row.values()] for row in rows)] == table()

    with Process("plan", "revenue", "-p", "2025-01-15") as planning:
        assert "0 to run, 2 reused" in planning.ends().stdout


def table() -> list[list[str]]:
    """Return the cells of the answer that the README shows, its header first."""
    header, _, *lines = one("", POSTGRES).splitlines()
    return [[cell.strip() for cell in line.split("|")] for line in (header, *lines)]


def test_an_asset_is_a_function_in_a_unit_test(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (said,) = re.findall(r"`revenue\((.+?)\)` is `(\d+)`", (ROOT / PAGE).read_text("utf-8"))
    program = f"import shop; print(shop.revenue({said[0]}))"

    assert python(["python", "-c", program]) == f"{said[1]}\n"


def test_the_commands_of_make_exist() -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    typed = re.findall(r"^make (\w+)", one("sh", "FlowStone"), re.MULTILINE)

    assert typed == ["demo", "test"]
    assert set(typed) <= set(targets)


def test_it_leads_to_every_page() -> None:
    pages = {f"docs/{it.name}" for it in (ROOT / "docs").glob("*.md")}

    assert pages - {*links(PAGE)} == {"docs/conformance.md"}


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_links_to_is_there(page: str) -> None:
    folder = (ROOT / page).parent

    assert [it for it in links(page) if not (folder / it).exists()] == []
