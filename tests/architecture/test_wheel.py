"""What is published is complete: the SQL travels with the package, the tests with the source."""

import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

from tests.architecture.conftest import BUILD
from tests.architecture.sources import ROOT, python, run


def test_the_wheel_carries_every_sql_file_and_revision(wheel: Path) -> None:
    packed = {n.removeprefix("flowstone/_sql/") for n in _names(wheel) if "/_sql/" in n}

    assert packed == _files(ROOT / "sql")


def test_the_wheel_carries_the_package_and_nothing_beside_it(wheel: Path) -> None:
    own = {n for n in _names(wheel) if ".dist-info/" not in n and "/_sql/" not in n}

    assert own == {f"flowstone/{name}" for name in _files(ROOT / "flowstone")}
    assert "flowstone/py.typed" in own


def test_the_wheel_names_its_command_and_its_plugin(wheel: Path) -> None:
    entry_points = next(n for n in _names(wheel) if n.endswith("entry_points.txt"))

    with zipfile.ZipFile(wheel) as archive:
        text = archive.read(entry_points).decode()

    assert "flowstone = flowstone.cli:main" in text
    assert "postgresql = flowstone.engine.plugin:plugin" in text


def test_the_package_in_the_wheel_reads_its_own_sql(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)

    shown = python(
        "-c",
        "from flowstone.engine.statements import sql_root; print(sql_root())",
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path)},
    ).stdout

    assert Path(shown.strip()) == tmp_path / "flowstone" / "_sql"


def test_the_source_distribution_builds_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    python("-c", BUILD.format(kind="sdist"), str(tmp_path))
    with tarfile.open(next(tmp_path.glob("*.tar.gz"))) as archive:
        archive.extractall(tmp_path, filter="data")
    source = next(tmp_path.glob("flowstone-*/"))

    python("-c", BUILD.format(kind="wheel"), str(tmp_path), cwd=source)

    again = next(tmp_path.glob("flowstone-*.whl"))
    assert _names(again) == _names(wheel)
    assert (source / "tests" / "architecture").is_dir()


def _names(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def _files(folder: Path) -> set[str]:
    """Return the files that a build may take, by their path in the folder."""
    files = [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]
    return set(files) - set(_ignored(folder, files))


def _ignored(folder: Path, files: Iterable[str]) -> list[str]:
    return run("git", "check-ignore", *files, cwd=folder, check=False).stdout.splitlines()
