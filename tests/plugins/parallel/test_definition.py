"""What is refused when a parallel asset is defined, or the application is built."""

from typing import Any, Literal

import pytest

from flowstone import Dep, FlowStone, Pipeline
from flowstone.core.asset import Asset
from flowstone.core.definitions import check
from flowstone.core.errors import DefinitionError, DependencyCycleError, InvalidOptionError
from flowstone.plugins.parallel import Branch, Outcome, parallel

MODES: tuple[Literal["all_or_nothing"], Literal["partial"]] = ("all_or_nothing", "partial")


def one(p: Pipeline) -> Asset[..., int]:
    @p.asset
    def one() -> int:
        return 1

    return one


class TestBranch:
    @pytest.mark.conformance(38)
    def test_branches_are_parameters_so_that_no_two_have_one_name(self) -> None:
        with pytest.raises(SyntaxError, match="dup"):
            compile("def join(dup=Branch(a), dup=Branch(b)): ...", "pipeline.py", "exec")

    @pytest.mark.conformance(39)
    @pytest.mark.parametrize("given", [[], [None], [7]])
    def test_one_without_its_final_asset_is_refused(self, given: list[Any]) -> None:
        with pytest.raises(DefinitionError, match="final"):
            Branch(*given)

    def test_a_function_that_is_no_asset_is_refused(self) -> None:
        def plain() -> None: ...

        with pytest.raises(DefinitionError, match=r"is @pipeline\.asset missing\?"):
            Branch(plain)  # type: ignore[call-overload]

    def test_a_name_needs_a_type(self) -> None:
        with pytest.raises(DefinitionError, match="needs the type too"):
            Branch("one")  # type: ignore[call-overload]

    @pytest.mark.parametrize("timeout", ["soon", -1, "10"])
    def test_a_timeout_is_a_duration(self, timeout: Any) -> None:
        with pytest.raises(InvalidOptionError, match="timeout"):
            Branch(one(Pipeline("p")), timeout=timeout)

    def test_a_required_one_is_waited_for(self) -> None:
        with pytest.raises(InvalidOptionError, match="required=False"):
            Branch(one(Pipeline("p")), wait=False)  # type: ignore[call-overload]


class TestParallel:
    def test_there_are_two_failure_modes(self) -> None:
        with pytest.raises(InvalidOptionError, match="all_or_nothing, partial"):
            parallel(failure_mode="some")  # type: ignore[arg-type]

    def test_its_timeout_is_a_duration(self) -> None:
        with pytest.raises(InvalidOptionError, match="timeout"):
            parallel(timeout="soon")

    def test_the_failure_mode_is_part_of_the_code_s_version(self) -> None:
        def join() -> None: ...

        versions = {
            Pipeline("p").asset(parallel(failure_mode=mode)(join)).code_version for mode in MODES
        }

        assert len(versions) == 2

    def test_it_stays_callable_as_the_function_that_it_was(self) -> None:
        p = Pipeline("p")

        first = one(p)

        @p.asset
        @parallel()
        def joined(one: int = Branch(first)) -> int:
            return one + 1

        assert joined(4) == 5
        with pytest.raises(DefinitionError, match="pass 'one' yourself"):
            joined()


def problem(p: Pipeline) -> str:
    (found,) = check([p])
    return str(found)


class TestChecks:
    def test_one_without_branches_says_so(self) -> None:
        p = Pipeline("p")
        p.asset(name="joined")(parallel()(lambda: 1))

        assert "parallel and has no branches. Give it one\n" in problem(p)

    def test_one_is_waited_for_at_least(self) -> None:
        p = Pipeline("p")

        first = one(p)

        @p.asset
        @parallel(failure_mode="partial")
        def joined(one: Outcome[int] = Branch(first, required=False, wait=False)) -> None: ...

        assert "no branch that it waits for" in problem(p)

    def test_all_or_nothing_needs_every_branch(self) -> None:
        p = Pipeline("p")

        first = one(p)

        @p.asset
        @parallel()
        def joined(one: Outcome[int] = Branch(first, required=False)) -> None: ...

        said = problem(p)
        assert "branch 'one' is not required" in said
        assert '@parallel(failure_mode="partial")' in said

    def test_a_branch_that_may_fail_is_an_outcome(self) -> None:
        p = Pipeline("p")

        first = one(p)

        @p.asset
        @parallel(failure_mode="partial")
        def joined(one: int = Branch(first, required=False)) -> None: ...  # type: ignore[assignment]

        assert "Branch(one, required=False) may fail; annotate it Outcome[int]" in problem(p)

    def test_a_branch_of_an_asset_that_is_not_parallel_says_what_to_write(self) -> None:
        p = Pipeline("p")

        first = one(p)

        @p.asset
        def joined(one: int = Branch(first)) -> None: ...

        said = problem(p)
        assert "parameter 'one' = Branch(one): nothing here waits for it" in said
        assert "@parallel()" in said

    @pytest.mark.conformance(56)
    def test_a_final_asset_that_does_not_exist_is_named_with_its_branch(self) -> None:
        p = Pipeline("p")
        one(p)

        @p.asset
        @parallel()
        def joined(web: int = Branch("onee", type=int)) -> None: ...

        assert "awaits 'p.onee' for its parameter 'web', which does not exist" in problem(p)
        assert "Did you mean 'p.one'?" in problem(p)

    @pytest.mark.conformance(59)
    def test_one_that_needs_its_own_branch_to_begin_is_a_circle(self) -> None:
        p = Pipeline("p")
        first = one(p)

        @p.asset
        @parallel()
        def joined(before: int = Dep(first), branch: int = Branch(first)) -> None: ...

        with pytest.raises(DependencyCycleError, match=r"p\.joined → p\.one → p\.joined"):
            FlowStone(p)

    def test_the_types_of_a_branch_and_its_parameter_are_compared(self) -> None:
        p = Pipeline("p")
        first = one(p)

        @p.asset
        @parallel(failure_mode="partial")
        def joined(
            right: int = Branch(first),
            wrong: str = Branch(first),  # type: ignore[assignment]
            may_fail: Outcome[str] = Branch(first, required=False),  # type: ignore[assignment]
        ) -> None: ...

        assert [
            str(it).partition(": ")[2].partition(" gives")[0] for it in check([p], types=True)
        ] == [
            "Branch(one)",
            "Branch(one, required=False)",
        ]

    def test_the_graph_marks_its_branches(self) -> None:
        p = Pipeline("p")
        first = one(p)

        @p.asset
        @parallel(failure_mode="partial")
        def joined(
            sure: int = Branch(first), may_fail: Outcome[int] = Branch(first, required=False)
        ) -> None: ...

        assert FlowStone(p).graph(p) == "one\n└── joined (awaited)"


class TestNames:
    async def test_a_branch_may_be_named(self) -> None:
        p = Pipeline("p")

        @p.asset
        @parallel(failure_mode="partial")
        async def joined(
            one: int = Branch("one", type=int),
            two: Outcome[int] = Branch("p.two", type=int, required=False, timeout="1m"),
        ) -> list[str]:
            return [str(one), str(two)]

        p.asset(name="one")(lambda: 1)
        p.asset(name="two")(lambda: 2)

        async with FlowStone(p) as app:
            assert await app.run(joined) == ["1", "Ok(value=2)"]
