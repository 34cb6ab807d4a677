import time
from typing import Annotated, Any

import pytest

from flowstone.core.application import FlowStone
from flowstone.core.asset import Definition
from flowstone.core.config import Config
from flowstone.core.context import Context
from flowstone.core.defaults.json_codec import JsonCodec
from flowstone.core.definitions import build, check
from flowstone.core.dependency import Dep
from flowstone.core.errors import (
    DefinitionError,
    DependencyCycleError,
    DuplicateAssetError,
)
from flowstone.core.pipeline import Pipeline
from flowstone.core.processes.place import place_of
from tests.application import in_processes
from tests.application.in_processes import refused
from tests.core.defining import Immediate, told


class ReportConfig(Config):
    top_n: int = 10


class OtherConfig(Config):
    depth: int = 1


class TestUnknownAssets:
    @pytest.mark.conformance(54)
    def test_an_optional_dependency_has_to_exist_too(self, sales: Pipeline) -> None:
        @sales.asset
        def report(missing: int | None = Dep("missing", type=int, optional=True)) -> None: ...

        with pytest.raises(DefinitionError, match="which does not exist"):
            build([sales])

    def test_the_nearest_name_is_offered(self, sales: Pipeline) -> None:
        @sales.asset(after=["numbres"])
        def report(base: list[int] = Dep("sales.nubmers", type=list[int])) -> None: ...

        assert "depends on 'sales.nubmers', which does not exist. Did you mean" in told(sales)
        assert "after 'sales.numbres', which does not exist. Did you mean" in told(sales)
        assert told(sales).count("'sales.numbers'?") == 2

    def test_a_pipeline_that_was_not_given_is_named(self, sales: Pipeline) -> None:
        raw = Pipeline("raw")
        orders = raw.asset(name="orders")(lambda: [1])

        @sales.asset
        def report(orders: list[int] = Dep(orders)) -> None: ...

        assert told(sales) == (
            "asset 'sales.report': depends on 'raw.orders', but the application has no pipeline "
            "'raw'. Add it\n      FlowStone([..., raw])"
        )
        assert told(sales, raw) == ""

    def test_an_old_name_is_told_with_the_new_one(self, sales: Pipeline) -> None:
        sales.asset(name="totals", aliases=["sums"])(lambda: 1)

        @sales.asset
        def report(sums: int = Dep("sums", type=int)) -> None: ...

        assert "depends on 'sales.sums', which is called 'sales.totals' now" in told(sales)


class TestNames:
    def test_a_name_given_twice_is_told_with_the_other_place(self, sales: Pipeline) -> None:
        first = sales.assets[0]
        sales.asset(name="numbers")(lambda: [4])

        with pytest.raises(DuplicateAssetError, match=f"of that name at {first.source}"):
            build([sales])

    def test_two_pipelines_of_one_name_are_told(self, sales: Pipeline) -> None:
        assert f"the other is at {sales.source}" in told(sales, Pipeline("sales"))

    def test_the_same_pipeline_given_twice_is_no_matter(self, sales: Pipeline) -> None:
        assert len(build([sales, sales])) == 1

    def test_the_same_name_in_two_pipelines_is_no_matter(self, sales: Pipeline) -> None:
        other = Pipeline("other")
        other.asset(name="numbers")(lambda: 1)

        assert check([sales, other]) == []

    def test_aliases_must_not_be_taken(self, sales: Pipeline) -> None:
        sales.asset(name="a", aliases=["numbers", "old", "no good", "x.y.z"])(lambda: 1)
        sales.asset(name="b", aliases=["old"])(lambda: 1)

        assert "alias 'sales.numbers' is the name of the asset at" in told(sales)
        assert "asset 'sales.a': alias 'sales.old' is also an alias of 'sales.b'" in told(sales)
        assert "alias 'sales.no good': 'no good' cannot be the name of an asset" in told(sales)
        assert "alias 'x.y.z': 'x.y' cannot be the name of a pipeline" in told(sales)

    def test_nor_must_those_of_jobs(self, sales: Pipeline) -> None:
        sales.job(name="numbers")(lambda: 1)
        sales.job(name="a", aliases=["numbers", "b", "old", "no good"])(lambda: 1)
        sales.job(name="b", aliases=["old"])(lambda: 1)

        assert "job 'sales.numbers': there is another asset of that name at" in told(sales)
        assert "alias 'sales.numbers' is the name of the asset at" in told(sales)
        assert "alias 'sales.b' is the name of the job at" in told(sales)
        assert "job 'sales.a': alias 'sales.old' is also an alias of 'sales.b'" in told(sales)
        assert "alias 'sales.no good': 'no good' cannot be the name of a job" in told(sales)


class TestCircles:
    def test_the_path_is_told(self) -> None:
        loop = Pipeline("loop")

        @loop.asset
        def a(b: int = Dep("b", type=int)) -> int:
            return b

        @loop.asset(after=["a"])
        def b() -> int:
            return 1

        with pytest.raises(DependencyCycleError) as caught:
            build([loop])

        assert caught.value.cycle == ("loop.a", "loop.b", "loop.a")
        assert str(caught.value) == (
            f"assets depend on each other in a circle: loop.a → loop.b → loop.a  ({a.source})"
        )

    def test_every_circle_is_told_with_its_place(self) -> None:
        loop = Pipeline("loop")

        @loop.asset
        def a(b: int = Dep("b", type=int)) -> int:
            return b

        @loop.asset
        def b(a: int = Dep(a)) -> int:
            return a

        @loop.asset(after=["c"])
        def c() -> None: ...

        with pytest.raises(DependencyCycleError) as caught:
            build([loop])

        first, second = str(caught.value).splitlines()
        assert first.endswith(f"loop.a → loop.b → loop.a  ({a.source})")
        assert second == f"{c.source}  asset 'loop.c': depends on itself: loop.c → loop.c"


class TestStrategies:
    def test_an_object_that_is_none_is_refused(self, sales: Pipeline) -> None:
        sales.asset(name="a")(Definition(lambda: 1, strategy=object()))

        assert "its strategy is a object, which is no Strategy" in told(sales)

    def test_one_that_is_one_passes(self, sales: Pipeline) -> None:
        sales.asset(name="a")(Definition(lambda: 1, strategy=Immediate()))

        assert check([sales]) == []


class TestConfigs:
    def test_all_functions_of_an_asset_share_one(self, sales: Pipeline) -> None:
        def gather(config: OtherConfig) -> None: ...

        def body(config: ReportConfig) -> None: ...

        sales.asset(Definition(body, strategy=Immediate(), phases={"gather": gather}))

        assert "want different configurations: ReportConfig, OtherConfig" in told(sales)

    def test_a_field_whose_type_is_unknown_is_told(self, sales: Pipeline) -> None:
        class Bad(Config):
            limit: "Nothing" = 1  # type: ignore[name-defined]  # noqa: F821 - the test

        @sales.asset
        def report(config: Bad) -> None: ...

        assert "Bad: field 'limit' is annotated 'Nothing': name 'Nothing' is not" in told(sales)


class TestEverythingAtOnce:
    def test_one_error_lists_every_problem(self, sales: Pipeline) -> None:
        @sales.asset(retry=0, queue="q" * 41)
        def first(numbers: list[int], *rest: int) -> None: ...

        @sales.asset
        def second(gone: int = Dep("gone", type=int)) -> "Unknown":  # type: ignore[name-defined]  # noqa: F821 - the test
            ...

        with pytest.raises(DefinitionError) as caught:
            build([sales])

        message = str(caught.value)
        assert message.startswith("6 problems in the definitions:\ntests/core/test_definitions.py:")
        assert len(caught.value.problems) == 6
        assert type(caught.value) is DefinitionError
        for part in ("retry=0", "queue=", "'*rest: int'", "'numbers' has", "'sales.gone'", "'Unkn"):
            assert part in message

    def test_options_that_there_are_not_are_told_with_all_else(self, sales: Pipeline) -> None:
        @sales.asset(retires=3, pritority=1)  # type: ignore[call-overload, untyped-decorator]
        def first(numbers: list[int]) -> None: ...

        @sales.job(max_attempts=20)  # type: ignore[call-overload, untyped-decorator]
        def second() -> None: ...

        message = told(sales)

        assert len(check([sales], types=False)) == 4
        for part in (
            "there is no option retires=; did you mean retry=?",
            "there is no option pritority=; did you mean priority=?",
            "'numbers' has",
            "there is no option max_attempts=; there are: name, retry, timeout, queue, priority",
        ):
            assert part in message

    def test_a_thousand_problems_are_told_quickly_and_briefly(self) -> None:
        many = Pipeline("many")
        for number in range(1000):
            gone: Any = Dep(f"gone_{number}", type=int)
            many.asset(name=f"asset_{number}")(lambda base=gone: base)

        started = time.perf_counter()
        with pytest.raises(DefinitionError) as caught:
            build([many])

        assert time.perf_counter() - started < 10
        assert len(caught.value.problems) == 1000
        assert str(caught.value).endswith("and 950 more")

    def test_no_pipelines_are_no_problem(self) -> None:
        assert len(build([])) == 0


class TestTypes:
    def test_an_edge_whose_types_cannot_meet_is_told_on_request(self, sales: Pipeline) -> None:
        numbers = sales.assets[0]

        @sales.asset
        def report(base: Annotated[str, Dep(numbers)]) -> None: ...

        assert told(sales) == ""
        assert told(sales, types=True) == (
            "asset 'sales.report': Dep(numbers) gives list[int], parameter 'base' wants str."
        )

    def test_the_name_of_an_asset_is_compared_too(self, sales: Pipeline) -> None:
        @sales.asset
        def report(base: str = Dep("numbers", type=str)) -> None: ...

        assert "Dep('numbers', type=str) gives list[int]" in told(sales, types=True)


def test_twenty_thousand_assets_are_built() -> None:
    many = Pipeline("many")
    for number in range(20_000):
        upstream: Any = Dep(f"a{number - 1}", type=int) if number else Dep("many.z", type=int)

        def body(ctx: Context, base: int = upstream) -> int:
            return base

        many.asset(name=f"a{number}")(body)
    many.asset(name="z")(lambda: 0)

    definitions = build([many])

    assert len(definitions) == 20_001
    assert definitions.dag.order[0] == "many.z"


class TestAnExecutor:
    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("with_resource", "resources stay with the worker, 'shop' cannot reach the process"),
            ("asynchronous", 'executor="process" is for plain functions'),
            ("misspelled", 'executor=\'procces\' must be "thread" or "process"'),
            ("lambda_", "a child process cannot find it: '<lambda>' has no name in module"),
            ("nested", "a child process cannot find it: 'make.<locals>.nested' has no name"),
        ],
    )
    def test_one_that_it_cannot_have_is_refused(self, name: str, message: str) -> None:
        problems = {it.asset: it.message for it in check([refused])}

        assert message in problems[f"refused.{name}"]

    def test_a_child_finds_what_a_name_leads_to(self) -> None:
        told = {it.asset for it in check([refused])}

        assert not told & {"refused.in_class", "refused.by_another_name"}
        assert place_of(in_processes.by_another_name).path == "by_another_name"

    def test_the_line_to_write_is_shown(self) -> None:
        (problem,) = [it for it in check([refused]) if it.asset == "refused.nested"]

        assert problem.fix == '@refused.asset(executor="process")\ndef nested(...): ...'

    def test_a_codec_has_to_reach_the_children(self) -> None:
        class Local(JsonCodec):
            pass

        with pytest.raises(DefinitionError, match="cannot be sent to child processes"):
            FlowStone(in_processes.alone, codec=Local())
