"""
The strategy of a router: it decides once in a run, and stores the decision.

::

    start ── decided in this run already? ──yes──▶ that decision
                      │ no
                      ▼
             function, predicates ──▶ record ──▶ Stored(decision)

The decision is recorded before the settlement stores it. Whoever comes between the two, a retry
or a rescue after the worker died, finds it and decides nothing anew.
"""

import enum
import json
import time
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import ClassVar, NamedTuple

from flowstone.core import annotations
from flowstone.core.asset import Asset
from flowstone.core.contracts.strategy import Execution, Strategy
from flowstone.core.defaults.function_strategy import outcome_of
from flowstone.core.error_record import harmless, shorten
from flowstone.core.errors import FlowStoneError, Problem, ProcessDiedError
from flowstone.core.errors.root import reason_text
from flowstone.core.outcome import Outcome, Stored, Wake
from flowstone.core.results import OUTCOMES
from flowstone.core.suggestion import suggest
from flowstone.plugins.routing.branching import Branching
from flowstone.plugins.routing.choice import Choice
from flowstone.plugins.routing.coordinator import RoutingCoordinator
from flowstone.plugins.routing.decision import Decision, Rule
from flowstone.plugins.routing.errors import (
    DecisionNotFoundError,
    InvalidBranchError,
    InvalidPredicateError,
)
from flowstone.plugins.routing.routed import routed_branches

FAIL = "fail"
ERROR_BYTES = 1024


class Selected(NamedTuple):
    """What deciding came to."""

    branch: str | None
    rule: Rule
    predicate: str | None = None
    error: str | None = None


class Router(Branching, Strategy):
    """
    Selects one branch, or none.

    Args:
        choices: The rules, in order; without any, the function itself returns the branch.
        default: The branch when no predicate is true.
        on_error: ``"fail"``, or the branch when deciding fails.
    """

    plugin: ClassVar[str | None] = "routing"

    def __init__(self, choices: Sequence[Choice[object]], default: str | None, on_error: str):
        self.choices = tuple(choices)
        self.default = default
        self.on_error = on_error

    @property
    def fingerprint(self) -> str:
        """Labels and their order; the predicates are phases, and count as such."""
        return json.dumps([[it.branch for it in self.choices], self.default, self.on_error])

    def branches(self, asset: Asset[..., object]) -> tuple[str, ...]:
        """Return what there is to select from, in the order of the rules."""
        if not self.choices:
            return _named_by(asset.signature.value_type)
        named = [it.branch for it in self.choices]
        return tuple(dict.fromkeys([*named, *([self.default] if self.default else [])]))

    def problems(
        self,
        asset: Asset[..., object],
        assets: Mapping[str, Asset[..., object]],
        dependents: Sequence[Asset[..., object]],
    ) -> Iterator[Problem]:
        branches = self.branches(asset)
        if not branches:
            yield _problem(
                asset,
                "nothing says which branches the router has; its function returns the one that "
                "it selects. Write",
                f'def {asset.name}(...) -> Literal["...", "..."] | None: ...',
            )
            return
        if FAIL in branches:
            yield _problem(asset, f"a branch cannot be called '{FAIL}', which on_error= means")
        elif self.on_error != FAIL and self.on_error not in branches:
            meant = suggest(self.on_error, branches)
            question = f" Did you mean '{meant}'?" if meant else ""
            known = ", ".join(branches)
            message = f"on_error='{self.on_error}' is no branch of the router.{question}"
            yield _problem(asset, f'{message} It is one of {known}, or "{FAIL}"')
        taken = set(routed_branches(asset.full_name, dependents))
        for branch in branches:
            if branch not in taken:
                name = asset.name if asset.name.isidentifier() else f'"{asset.full_name}"'
                message = f'branch "{branch}" has no asset. Add, above its function'
                yield _problem(asset, message, f'@routed_from({name}, "{branch}")')

    async def start(self, execution: Execution) -> Outcome:
        routing = execution.coordinator(RoutingCoordinator)
        where = (execution.run_id, execution.asset.full_name, execution.partition)
        if execution.claim > 0:  # under the first one, nobody can have decided before
            with suppress(DecisionNotFoundError):
                return Stored(await routing.get(*where))
        facts = {"router": where[1], "run_id": where[0], "partition": where[2]}
        execution.telemetry.execute("route.start", {"system_time": time.time()}, facts)
        began = time.perf_counter()
        selected = await self._decided(execution, facts)
        if not isinstance(selected, Selected):
            return selected
        decision = await routing.record(
            *where,
            selected.branch,
            materialization_id=execution.materialization_id,
            available_branches=self.branches(execution.asset),
            rule=selected.rule,
            predicate=selected.predicate,
            error=selected.error,
        )
        duration = {"duration": (time.perf_counter() - began) * 1000}
        execution.telemetry.execute("route.stop", duration, {**facts, **_facts_of(decision)})
        return Stored(decision)

    async def resume(self, execution: Execution, wake: Wake) -> Outcome:
        # Reached only when an asset became a router while it waited as something else.
        return await self.start(execution)

    async def _decided(
        self, execution: Execution, facts: Mapping[str, object]
    ) -> Selected | Outcome:
        try:
            return await self._evaluated(execution)
        except Exception as error:
            execution.telemetry.execute("route.error", {}, {**facts, "error": error})
            if self.on_error == FAIL or not self._falls_back(error, execution):
                raise
            said = shorten(harmless(reason_text(error)), ERROR_BYTES)
            return Selected(self.on_error, Rule.FALLBACK, error=said)

    async def _evaluated(self, execution: Execution) -> Selected | Outcome:
        asset = execution.asset
        result = await execution.call()
        if isinstance(result, OUTCOMES):
            return outcome_of(result)
        if not self.choices:
            return Selected(self._branch(asset, result), Rule.FUNCTION)
        for phase, it in zip(phases_of(self.choices), self.choices, strict=True):
            (parameter,) = asset.phase_signatures[phase].supplied
            answer = await execution.call_phase(phase, **{parameter: result})
            if isinstance(answer, OUTCOMES):
                return outcome_of(answer)
            if not isinstance(answer, bool):
                raise InvalidPredicateError(asset.full_name, it.predicate, answer)
            if answer:
                return Selected(it.branch, Rule.CHOICE, it.predicate)
        return Selected(self.default, Rule.DEFAULT)

    def _branch(self, asset: Asset[..., object], returned: object) -> str | None:
        branches = self.branches(asset)
        if returned is None:
            return None
        if isinstance(returned, str) and str(returned) in branches:
            return str(returned)
        raise InvalidBranchError(asset.full_name, returned, branches)

    def _falls_back(self, error: Exception, execution: Execution) -> bool:
        """Whether deciding has failed for good, by the author's code and nothing around it."""
        is_around = isinstance(error, FlowStoneError)
        if is_around and not isinstance(error, InvalidPredicateError | ProcessDiedError):
            return False
        retry = execution.asset.options.retry
        return (
            retry is None
            or execution.attempt >= retry.max_attempts
            or not retry.is_retryable(error)
        )


def phases_of(choices: Iterable[object]) -> list[str]:
    """Return the names of the predicates as functions of the asset."""
    return [f"choice {number}" for number, _ in enumerate(choices, start=1)]


def _named_by(annotation: object) -> tuple[str, ...]:
    """Return the branches that a function's return annotation names."""
    is_union = annotations.is_union(annotation)
    members = typing.get_args(annotation) if is_union else (annotation,)
    named: list[str] = []
    for member in members:
        if typing.get_origin(member) is typing.Literal:
            named += [str(it) for it in typing.get_args(member) if isinstance(it, str)]
        elif isinstance(member, type) and issubclass(member, enum.StrEnum):
            named += [it.value for it in member]
    return tuple(dict.fromkeys(named))


def _facts_of(decision: Decision) -> dict[str, object]:
    return {
        "decision_id": decision.decision_id,
        "selected_branch": decision.selected_branch,
        "rule": decision.rule.value,
        "predicate": decision.predicate,
    }


def _problem(asset: Asset[..., object], message: str, fix: str | None = None) -> Problem:
    return Problem(message, where=str(asset.source), asset=asset.full_name, fix=fix)
