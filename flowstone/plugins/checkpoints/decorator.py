"""The decorator of assets whose value somebody approves."""

from collections.abc import Callable, Coroutine, Iterable
from datetime import timedelta
from typing import Any, Literal, ParamSpec, Protocol, TypeVar, overload

from flowstone.core.asset import Definition
from flowstone.core.results import Cancel, Skip, Snooze
from flowstone.plugins.checkpoints.needs_approval import NeedsApproval
from flowstone.plugins.checkpoints.rules import read_rules
from flowstone.plugins.checkpoints.strategy import ApprovalStrategy

P = ParamSpec("P")
T = TypeVar("T")


class ApprovalDecorator(Protocol):
    """What ``approval(…)`` gives: the value's type is that of what is held."""

    @overload
    def __call__(
        self, function: Callable[P, Coroutine[Any, Any, NeedsApproval[T]]], /
    ) -> Definition[P, T, Coroutine[Any, Any, NeedsApproval[T]]]: ...
    @overload
    def __call__(
        self,
        function: Callable[P, Coroutine[Any, Any, T | NeedsApproval[T] | Skip | Snooze | Cancel]],
        /,
    ) -> Definition[P, T, Coroutine[Any, Any, T | NeedsApproval[T]]]: ...
    @overload
    def __call__(
        self, function: Callable[P, T | NeedsApproval[T] | Skip | Snooze | Cancel], /
    ) -> Definition[P, T, T | NeedsApproval[T]]: ...


def approval(
    *,
    timeout: timedelta | str | float | None = None,
    on_timeout: Literal["reject", "approve", "escalate"] = "reject",
    approvers: Iterable[str] = (),
    escalate_to: Iterable[str] = (),
    reminders: Iterable[timedelta | str | float] = (),
) -> ApprovalDecorator:
    """
    Let somebody decide about a value before it counts; goes below ``@pipeline.asset``.

    The function returns its value, or ``NeedsApproval(value, message)``: then the value is held,
    and the asset waits. Approved, it is the asset's value; rejected, the asset fails. Meanwhile
    nothing is held but a row.

    Args:
        timeout: How long there is to decide; None is for ever.
        on_timeout: What then happens: ``reject`` (the asset fails), ``approve``, or ``escalate``:
            ``escalate_to`` may decide for as long again, and after that it is rejected.
        approvers: Names of people or groups that may decide; none is everybody.
        escalate_to: Who may decide after the timeout, in the place of ``approvers``.
        reminders: How long before the deadline notifiers are told again.

    Raises:
        InvalidOptionError: An option is not one, or makes no sense beside the others.
    """
    rules = read_rules(
        timeout=timeout,
        on_timeout=on_timeout,
        approvers=approvers,
        escalate_to=escalate_to,
        reminders=reminders,
    )

    def define(function: Callable[P, object]) -> Definition[P, Any, Any]:
        return Definition(function, strategy=ApprovalStrategy(rules))

    return define
