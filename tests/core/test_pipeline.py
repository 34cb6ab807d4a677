import linecache
from datetime import timedelta
from functools import partial
from types import ModuleType
from typing import Any

import pytest

from flowstone.core.asset import Asset
from flowstone.core.dependency import Dep
from flowstone.core.errors import DefinitionError
from flowstone.core.pipeline import Pipeline
from flowstone.core.retry import Retry


def objections(**options: Any) -> str:
    """Return what an asset with these options has against it."""

    def report() -> None: ...

    asset: Asset[..., object] = Pipeline("sales").asset(**options)(report)
    return "\n".join(asset.objections)


class TestDefining:
    @pytest.mark.conformance(29)
    def test_assets_are_listed_as_they_were_defined(self) -> None:
        events = Pipeline("events")

        @events.asset
        def raw_events() -> list[str]:
            return ["a"]

        @events.asset(description="Validated events")
        def clean_events(raw: list[str] = Dep(raw_events)) -> list[str]:
            return raw

        assert events.assets == (raw_events, clean_events)
        assert [asset.name for asset in events.assets] == ["raw_events", "clean_events"]
        assert clean_events.options.description == "Validated events"
        assert [wanted.upstream for wanted in clean_events.inputs] == ["events.raw_events"]
        assert clean_events(["b"]) == ["b"]

    def test_the_docstring_is_the_description(self) -> None:
        sales = Pipeline("sales")

        @sales.asset
        def report() -> None:
            """
            Sum up.

              Indented.
            """

        assert report.options.description == "Sum up.\n\n  Indented."
        assert report.__doc__ == report.options.description

    @pytest.mark.conformance(32)
    def test_any_callable_can_be_given_by_hand(self) -> None:
        sales = Pipeline("sales")

        computed = sales.asset(name="computed")(lambda: "computed")
        bound = sales.asset(name="bound")(partial(sorted, reverse=True))

        assert computed() == "computed"
        assert bound([1, 2]) == [2, 1]

    @pytest.mark.conformance(48)
    @pytest.mark.parametrize(
        ("given", "message"),
        [
            (42, "takes a function, not 42"),
            (dict, "takes a function, not the class dict"),
            ("report", r'options go by keyword: asset\(name="report"\)'),
            (max, "does not tell its parameters"),
        ],
    )
    def test_what_computes_nothing_is_refused_at_once(self, given: Any, message: str) -> None:
        with pytest.raises(DefinitionError, match=message):
            Pipeline("sales").asset(given)

    def test_an_asset_is_not_made_an_asset_again(self) -> None:
        sales, other = Pipeline("sales"), Pipeline("other")

        @sales.asset
        def report() -> None: ...

        with pytest.raises(DefinitionError, match="is an asset already"):
            other.asset(report)

    def test_a_generator_is_told_to_return(self) -> None:
        sales = Pipeline("sales")

        @sales.asset
        async def rows() -> Any:
            yield 1

        assert rows.objections == ("it yields; an asset returns its value, for example a list",)

    def test_it_knows_where_it_was_defined(self) -> None:
        sales = Pipeline("sales")

        @sales.asset()
        def report() -> None: ...

        assert report.source.file == sales.source.file == __file__
        assert 0 < report.source.line - sales.source.line < 4
        assert str(report.source).startswith("tests/core/test_pipeline.py:")


class TestOptions:
    def test_they_are_kept_in_their_final_form(self) -> None:
        sales = Pipeline("sales")

        @sales.asset(
            name="final",
            io="lake",
            retry=3,
            timeout="10m",
            queue="etl",
            priority=-2,
            tags=["core", "core", "slow"],
            owner="data@example.org",
            aliases=["old", "other.older"],
            version="2",
        )
        def report() -> None: ...

        options = report.options
        assert report.full_name == "sales.final"
        assert (options.io, options.queue, options.priority) == ("lake", "etl", -2)
        assert (options.retry, options.timeout) == (Retry(3), timedelta(minutes=10))
        assert (options.tags, options.owner) == (("core", "slow"), "data@example.org")
        assert options.aliases == ("sales.old", "other.older")
        assert report.code_version == "2"
        assert report.objections == ()

    def test_so_are_those_of_a_job(self) -> None:
        sales = Pipeline("sales")

        @sales.job(tags=["core", "core"], owner="me", description="Sends it.", aliases=["mail"])
        def send() -> None: ...

        options = send.body.options
        assert (options.tags, options.owner) == (("core",), "me")
        assert (options.description, options.aliases) == ("Sends it.", ("sales.mail",))

    def test_the_pipelines_stand_in(self) -> None:
        sales = Pipeline(
            "sales",
            io="lake",
            queue="etl",
            retry=2,
            timeout=60,
            priority=5,
            tags=["sales"],
            owner="me",
        )

        @sales.asset
        def plain() -> None: ...

        @sales.asset(io="pg", queue="x", retry=9, timeout=1, priority=0, tags=["a"], owner="you")
        def special() -> None: ...

        assert plain.options == sales.defaults
        assert special.options.tags == ("sales", "a")
        assert special.options.priority == 0
        assert special.options.retry == Retry(9)
        assert (special.options.io, special.options.owner) == ("pg", "you")

    @pytest.mark.parametrize(
        ("option", "value", "message"),
        [
            ("io", "", "io='' must be a text"),
            ("io", 3, "io=3 must be a text"),
            ("retry", 0, "retry=0: max_attempts=0 must be a whole number"),
            ("retry", "5", "retry='5' must be a Retry or a number of attempts"),
            ("timeout", "soon", "timeout='soon' is not a duration"),
            ("timeout", 0, "timeout=0 must be longer than nothing"),
            ("timeout", -1, "timeout=-1 must not be negative"),
            ("timeout", [], "timeout=[] must be a timedelta"),
            ("queue", "q" * 41, "must be at most 40 bytes"),
            ("queue", "é" * 21, "must be at most 40 bytes"),
            ("queue", "a\x00b", "must be a text"),
            (
                "priority",
                "high",
                "priority='high' must be a whole number of 32 bits; higher is sooner",
            ),
            ("priority", True, "priority=True must be a whole number"),
            ("priority", 2**31, "must be a whole number"),
            ("tags", "core", "tags='core' must be a list: tags=[\"core\"]"),
            ("tags", [1], "tags=1 must be a text"),
            ("owner", "\n", "owner='\\n' must be a text"),
            ("description", 5, "description=5 must be a text"),
            ("version", 2, "version=2 must be a text"),
            ("after", "report", "after='report' must be a list: after=[...]"),
            ("after", [print], "after=[print]: 'print' is no asset"),
            ("name", "a-b", "'a-b' cannot be the name of an asset"),
            ("name", "", "'' cannot be the name of an asset"),
            ("name", "n" * 201, "has 201 characters; 200 is the most"),
            ("name", "x'; DROP TABLE runs; --", "cannot be the name of an asset"),
        ],
    )
    def test_a_wrong_value_is_named(self, option: str, value: object, message: str) -> None:
        assert message in objections(**{option: value})

    def test_a_lambda_needs_a_name(self) -> None:
        asset = Pipeline("sales").asset(lambda: 1)

        assert 'say asset(name="...")' in asset.objections[0]


class TestThePipelineItself:
    @pytest.mark.parametrize("name", ["", "a.b", "a b", "1a", "x" * 201, None])
    def test_a_bad_name_is_refused_at_once(self, name: Any) -> None:
        with pytest.raises(DefinitionError, match="the name of a pipeline"):
            Pipeline(name)

    def test_every_bad_default_is_told(self) -> None:
        with pytest.raises(DefinitionError) as caught:
            Pipeline("sales", io="", queue="q" * 41, retry=0)

        assert len(caught.value.problems) == 3
        assert all("test_pipeline.py" in (it.where or "") for it in caught.value.problems)

    def test_two_of_them_share_nothing(self) -> None:
        first, second = Pipeline("a"), Pipeline("b")
        first.asset(name="x")(lambda: 1)

        assert (len(first.assets), len(second.assets)) == (1, 0)


class TestNotebooks:
    def test_a_cell_that_is_run_again_replaces_what_it_defined(self) -> None:
        notebook = ModuleType("__main__")
        run_cell(notebook, "from flowstone.core.pipeline import Pipeline\np = Pipeline('p')", 1)
        run_cell(notebook, "@p.asset\ndef first() -> int:\n    return 1", 2)
        run_cell(notebook, "@p.asset\ndef second() -> int:\n    return 1", 3)
        before = [asset.code_version for asset in notebook.p.assets]

        run_cell(notebook, "@p.asset\ndef first() -> int:\n    return 2", 4)

        assert [asset.name for asset in notebook.p.assets] == ["first", "second"]
        assert notebook.p.assets[0]() == 2
        assert [asset.code_version for asset in notebook.p.assets][1] == before[1]
        assert notebook.p.assets[0].code_version != before[0]

    def test_in_a_module_a_second_definition_stays(self) -> None:
        sales = Pipeline("sales")
        for value in (1, 2):
            sales.asset(name="twice")(lambda value=value: value)

        assert [asset.name for asset in sales.assets] == ["twice", "twice"]


def run_cell(notebook: ModuleType, source: str, number: int) -> None:
    file = f"<cell {number}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    exec(compile(source, file, "exec"), vars(notebook))
