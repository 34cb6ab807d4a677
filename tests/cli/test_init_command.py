"""What ``flowstone init`` writes runs at once, and nothing of anybody's is lost."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from flowstone.cli.init_command import with_tables
from tests.cli.invocation import ROOT, flowstone

FILES = ["pipeline.py", "pyproject.toml", "test_pipeline.py"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def files(folder: Path) -> dict[str, str]:
    return {it.name: it.read_text(encoding="utf-8") for it in folder.iterdir() if it.is_file()}


class TestWhatItWrites:
    def test_is_checked_and_run(self, folder: Path, dsn: str) -> None:
        assert flowstone("init").exit_code == 0

        checked = flowstone("check", "--types")
        ran = flowstone("run", "report", "--dsn", dsn)

        assert checked.stdout == "3 assets in 1 pipeline: nothing is wrong\n"
        assert ran.exit_code == 0
        assert ran.document == "Ada           50.00\nGrace         13.50"

    def test_has_a_test_that_passes(self, folder: Path) -> None:
        flowstone("init")

        ended = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
            capture_output=True,
            text=True,
            check=False,
        )

        assert "2 passed" in ended.stdout, ended.stdout

    def test_is_clean_for_ruff_and_mypy(self, folder: Path) -> None:
        flowstone("init")

        checks = (
            ("ruff", "check", "--no-cache", "--select", "B,E,F,I,RUF,UP"),
            ("ruff", "format", "--no-cache", "--check"),
            ("mypy", "--strict", "--cache-dir=/dev/null"),
        )
        for module, *arguments in checks:
            ended = subprocess.run(
                [sys.executable, "-m", module, *arguments, "."],
                env={"PATH": "", "MYPYPATH": str(ROOT)},
                capture_output=True,
                text=True,
                check=False,
            )
            assert ended.returncode == 0, ended.stdout + ended.stderr

    def test_goes_into_a_folder_that_is_made_for_it(self, folder: Path) -> None:
        ended = flowstone("init", "My first Project")

        project = tomllib.loads(files(folder / "My first Project")["pyproject.toml"])
        assert sorted(files(folder / "My first Project")) == FILES
        assert project["project"]["name"] == "my-first-project"
        assert "  cd 'My first Project'\n  flowstone check\n" in ended.stderr


class TestWhatIsThereAlready:
    def test_is_left_alone_and_then_nothing_is_written(self, folder: Path) -> None:
        (folder / "pipeline.py").write_text("mine = 1\n")

        ended = flowstone("init")

        assert ended.exit_code == 2
        assert ended.stderr.startswith("error: pipeline.py: there already; nothing was written.")
        assert files(folder) == {"pipeline.py": "mine = 1\n"}

    def test_is_overwritten_when_that_is_asked_for(self, folder: Path) -> None:
        (folder / "pipeline.py").write_text("mine = 1\n")

        ended = flowstone("init", "--force", "-o", "json")

        assert ended.document["files"] == {
            "pipeline.py": "overwritten",
            "test_pipeline.py": "written",
            "pyproject.toml": "written",
        }
        assert flowstone("check").exit_code == 0

    def test_keeps_its_pyproject_which_gets_the_tables_it_lacks(self, folder: Path) -> None:
        mine = '[project]\nname = "mine"  # important\n\n[tool.ruff]\nline-length = 120'
        (folder / "pyproject.toml").write_text(mine)

        flowstone("init", "--force")

        extended = files(folder)["pyproject.toml"]
        tool = tomllib.loads(extended)["tool"]
        assert extended.startswith(mine)
        assert tool["flowstone"] == {"app": "pipeline:app"}
        assert tool["ruff"]["lint"]["flake8-bugbear"] == {
            "extend-immutable-calls": ["flowstone.Dep", "flowstone.Requires"]
        }

    def test_keeps_its_application_and_is_told_how_to_choose_the_new_one(
        self, folder: Path
    ) -> None:
        mine = '[tool.flowstone]\napp = "mine:app"\n'
        (folder / "pyproject.toml").write_text(mine)

        ended = flowstone("init")

        assert files(folder)["pyproject.toml"].startswith(mine)
        assert "  export FLOWSTONE_APP=pipeline:app\n" in ended.stderr

    @pytest.mark.parametrize(
        "text",
        [
            pytest.param("[tool.flowstone]\n[tool.ruff.lint.flake8-bugbear]\n", id="it has all"),
            pytest.param("tool = {ruff = {lint = {}}, other = 1}\n", id="its tables are inline"),
        ],
    )
    def test_keeps_its_pyproject_as_it_is_where_nothing_can_be_added(self, text: str) -> None:
        assert with_tables(text) == text

    def test_is_not_touched_when_its_pyproject_is_broken(self, folder: Path) -> None:
        (folder / "pyproject.toml").write_text("[tool")

        ended = flowstone("init")

        assert ended.exit_code == 2
        assert files(folder) == {"pyproject.toml": "[tool"}

    def test_may_be_a_file_where_the_folder_should_be(self, folder: Path) -> None:
        (folder / "taken").write_text("")

        assert flowstone("init", "taken").exit_code == 2
