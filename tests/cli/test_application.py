"""The application is found by name, and what is wrong with it is said in a line."""

import sys
from pathlib import Path

import pytest

from flowstone import FlowStone, Pipeline
from flowstone.cli.application import load
from flowstone.cli.settings import Settings
from flowstone.engine.schema import migrate
from tests.cli.invocation import flowstone


class TestWhatTheAttributeMayBe:
    @pytest.mark.parametrize(
        ("chosen", "assets"),
        [
            ("shop:app", 9),
            ("shop", 9),
            ("shop:sales", 2),
            ("shop:app.pipelines", 9),
            ("shop:only", 7),
        ],
    )
    def test_an_application_a_pipeline_or_several(
        self, project: Path, chosen: str, assets: int
    ) -> None:
        with (project / "shop.py").open("a") as file:
            file.write("\nonly = [other]\n")

        app = load(Settings(app=chosen))

        assert len(app.definitions) == assets

    def test_an_application_is_taken_as_it_is(self, project: Path) -> None:
        loaded = load(Settings(app="shop:app"))

        assert loaded is sys.modules["shop"].app

    @pytest.mark.parametrize("value", ["3", "[]", "[1]", "sales.assets[0]"])
    def test_nothing_else(self, project: Path, value: str) -> None:
        with (project / "shop.py").open("a") as file:
            file.write(f"\nthing = {value}\n")

        ended = flowstone("plan", "report", "--app", "shop:thing")

        assert ended.exit_code == 2
        assert "expected a FlowStone, a Pipeline, or a list of pipelines" in ended.stderr


class TestWhereItIsNamed:
    def test_by_the_option_before_the_variable_before_the_project(
        self, project: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (project / "pyproject.toml").write_text('[tool.flowstone]\napp = "shop:other"\n')

        by_option = load(Settings(app="shop:sales"))
        by_variable = load(Settings())
        monkeypatch.delenv("FLOWSTONE_APP")
        by_project = load(Settings())

        assert list(by_option.definitions.pipelines) == ["sales"]
        assert list(by_variable.definitions.pipelines) == ["sales", "other"]
        assert list(by_project.definitions.pipelines) == ["other"]

    def test_in_a_folder_of_the_project_the_project_counts(
        self, project: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (project / "pyproject.toml").write_text('[tool.flowstone]\napp = "shop:sales"\n')
        (project / "notebooks").mkdir()
        monkeypatch.chdir(project / "notebooks")
        monkeypatch.delenv("FLOWSTONE_APP")

        assert list(load(Settings()).definitions.pipelines) == ["sales"]

    def test_nowhere_is_a_usage_error_that_says_how(
        self, project: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("FLOWSTONE_APP")

        ended = flowstone("plan", "report")

        assert ended.exit_code == 2
        assert "--app module:attribute" in ended.stderr

    @pytest.mark.parametrize(
        ("table", "said"),
        [
            ('ap = "shop:app"', "has no 'ap'; known: app"),
            ("app = 3", "app must be a text"),
            ("app = ", "pyproject.toml"),
        ],
    )
    def test_a_project_file_that_means_nothing_is_refused(
        self, project: Path, monkeypatch: pytest.MonkeyPatch, table: str, said: str
    ) -> None:
        (project / "pyproject.toml").write_text(f"[tool.flowstone]\n{table}\n")
        monkeypatch.delenv("FLOWSTONE_APP")

        ended = flowstone("plan", "report")

        assert ended.exit_code == 2
        assert said in ended.stderr


class TestWhatIsWrongWithIt:
    @pytest.mark.parametrize(
        ("chosen", "said"),
        [
            ("nowhere:app", "there is no module 'nowhere'"),
            ("shop.deeper:app", "there is no module 'shop.deeper'"),
            ("shop:ap", "has no 'ap'; did you mean 'app'?"),
            ("shop.py", "did you mean --app shop:app?"),
            ("shop.app", "did you mean --app shop:app?"),
            (":app", "expected module:attribute"),
            ("..shop:app", "expected module:attribute"),
        ],
    )
    def test_a_name_that_leads_nowhere(self, project: Path, chosen: str, said: str) -> None:
        ended = flowstone("plan", "report", "--app", chosen)

        assert ended.exit_code == 2
        assert said in ended.stderr

    @pytest.mark.parametrize(
        ("source", "said"),
        [
            ("x = 1\nraise ValueError('no such shop')\n", "ValueError: no such shop"),
            ("x = 1\nimport nowhere_to_be_found\n", "No module named 'nowhere_to_be_found'"),
            ("x = 1\nraise SystemExit('closed')\n", "SystemExit: closed"),
            ("x = 1\nx = = 2\n", "SyntaxError: invalid syntax"),
        ],
        ids=["raises", "imports", "exits", "syntax"],
    )
    def test_what_its_module_raises_is_told_with_the_line(
        self, project: Path, source: str, said: str
    ) -> None:
        (project / "closed.py").write_text(source)

        ended = flowstone("plan", "report", "--app", "closed:app")

        assert ended.exit_code == 2
        assert said in ended.stderr
        assert f"({project}/closed.py:2)" in ended.stderr
        assert "Traceback" not in ended.stderr

    def test_the_line_is_the_authors_even_where_ours_raised(self, project: Path) -> None:
        (project / "closed.py").write_text("from flowstone import FlowStone\nFlowStone(3)\n")

        ended = flowstone("plan", "report", "--app", "closed:app")
        checked = flowstone("check", "--app", "closed:app")

        assert ended.exit_code == checked.exit_code == 2
        assert ended.stderr.startswith("error: closed.py:2  FlowStone() takes pipelines, not 3")
        assert checked.stdout.startswith("closed.py:2  FlowStone() takes pipelines, not 3")

    def test_a_circle_is_told_with_its_path(self, project: Path) -> None:
        (project / "circle.py").write_text(
            "from flowstone import Dep, Pipeline\n"
            "p = Pipeline('p')\n"
            "@p.asset\n"
            "def a(b: int = Dep('b', type=int)) -> int: ...\n"
            "@p.asset\n"
            "def b(a: int = Dep('a', type=int)) -> int: ...\n"
        )

        ended = flowstone("plan", "a", "--app", "circle:p")

        assert ended.exit_code == 2
        assert ended.stderr.startswith("error: assets depend on each other in a circle: p.")


class TestAnotherDatabase:
    def test_an_application_on_another_database_is_the_same_otherwise(self, dsn: str) -> None:
        pipeline = Pipeline("p")
        app = FlowStone([pipeline], schema="elsewhere")

        other = app.with_dsn(dsn)
        third = app.with_dsn(dsn, schema="third")

        assert (app.dsn, other.dsn, third.dsn) == (None, dsn, dsn)
        assert (other.schema, third.schema) == ("elsewhere", "third")
        assert other.definitions is app.definitions
        assert other.telemetry is app.telemetry
        assert other.resources is app.resources
        assert not app.store.is_durable
        assert other.store.is_durable

    async def test_what_one_has_stored_the_other_does_not_see(self, dsn: str) -> None:
        pipeline = Pipeline("p")

        @pipeline.asset
        async def one() -> int:
            return 1

        app = FlowStone([pipeline])
        async with app.with_dsn(dsn) as durable:
            await durable.run(one)
        async with app.with_dsn(dsn) as again, app:
            assert await again.exists(one)
            assert not await app.exists(one)


@pytest.mark.parametrize(
    ("command", "plugin"),
    [("scatter", "scatter"), ("gate", "signal_gate"), ("approval", "checkpoints")],
)
class TestCommandsOfAPlugin:
    """Rows tell all; the application, which uses no such plugin, says only where they are."""

    def test_read_rows_that_there_are(
        self, project: Path, dsn: str, monkeypatch: pytest.MonkeyPatch, command: str, plugin: str
    ) -> None:
        migrate(dsn, "flowstone", tables=FlowStone([], plugins=[plugin]).tables)
        monkeypatch.setenv("DATABASE_URL", dsn)

        ended = flowstone(command, "ls", "-o", "json")

        assert (ended.exit_code, ended.document["items"]) == (0, [])

    def test_say_what_is_missing_where_there_is_nothing(
        self, project: Path, dsn: str, monkeypatch: pytest.MonkeyPatch, command: str, plugin: str
    ) -> None:
        monkeypatch.setenv("DATABASE_URL", dsn)

        ended = flowstone(command, "ls")

        assert ended.exit_code == 3
        assert ended.stderr == (
            f"error: schema 'flowstone' lacks the tables of plugin '{plugin}'; "
            "run: flowstone db migrate, with an --app that uses it\n"
        )
