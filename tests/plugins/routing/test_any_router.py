"""Whatever predicates answer, and whatever follows an error: the branch is the one of the rules."""

import logging
from typing import Any

import pytest
from hypothesis import given, settings, strategies

from flowstone import FlowStone, Pipeline, RunFailedError, run_sync
from flowstone.plugins.routing import Choice, Decision, Rule, route, routed_from

ANSWERS: list[Any] = [True, False, "error", None, 1]

routers = strategies.tuples(
    strategies.lists(strategies.sampled_from(ANSWERS), min_size=1, max_size=4),
    strategies.sampled_from([None, "default", "branch 0"]),
    strategies.sampled_from(["fail", "branch 0", "default"]),
)


def by_the_rules(answers: list[Any], default: str | None, on_error: str) -> tuple[Any, ...] | None:
    """Return branch, rule and whether there is an error; None where the router fails."""
    for number, answer in enumerate(answers):
        if answer is True:
            return f"branch {number}", Rule.CHOICE, False
        if answer is not False:
            return None if on_error == "fail" else (on_error, Rule.FALLBACK, True)
    return default, Rule.DEFAULT, False


@settings(max_examples=60, deadline=None)
@given(routers)
def test_the_branch_is_the_one_of_the_rules(router: tuple[list[Any], str | None, str]) -> None:
    answers, default, on_error = router
    if on_error == "default" != default:
        on_error = "fail"  # or it would be refused: there is no such branch
    p = Pipeline("p")

    def predicate(answer: Any) -> Any:
        def when(_: object) -> Any:
            if answer == "error":
                raise ValueError("no answer")
            return answer

        return when

    choices = [Choice(f"branch {number}", predicate(it)) for number, it in enumerate(answers)]
    decorate: Any = route(*choices, default=default, on_error=on_error)
    kind = p.asset(name="kind")(decorate(lambda: "looked at"))
    branches = [f"branch {number}" for number, _ in enumerate(answers)]
    branches += ["default"] if default == "default" else []
    for number, branch in enumerate(branches):
        p.asset(name=f"asset_{number}")(routed_from(kind, branch)(_named(branch)))
    app = FlowStone(p)
    targets: list[Any] = [kind, *(f"asset_{number}" for number, _ in enumerate(branches))]
    expected = by_the_rules(answers, default, on_error)
    logging.disable(logging.CRITICAL)
    try:
        if expected is None:
            with pytest.raises(RunFailedError):
                run_sync(app, targets)
            return
        decision, *values = run_sync(app, targets)
    finally:
        logging.disable(logging.NOTSET)

    assert isinstance(decision, Decision)
    assert (decision.selected_branch, decision.rule, decision.error is not None) == expected
    assert decision.available_branches == tuple(branches)
    assert values == [it if it == decision.selected_branch else None for it in branches]


def _named(branch: str) -> Any:
    def made() -> str:
        return branch

    return made
