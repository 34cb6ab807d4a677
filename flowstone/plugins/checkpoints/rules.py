"""What an asset says about its approvals: who decides, until when, and what then."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from flowstone.core import duration
from flowstone.core.errors import InvalidOptionError


class OnTimeout(StrEnum):
    """What becomes of an approval that nobody decided in time."""

    REJECT = "reject"
    APPROVE = "approve"
    ESCALATE = "escalate"


@dataclass(frozen=True, slots=True)
class ApprovalRules:
    """
    The options of `approval`, checked.

    Attributes:
        timeout: None waits for ever.
        approvers: Empty is everybody.
        escalate_to: Who may decide after the timeout, with `OnTimeout.ESCALATE`.
        reminders: How long before the deadline to remind.
    """

    timeout: timedelta | None = None
    on_timeout: OnTimeout = OnTimeout.REJECT
    approvers: tuple[str, ...] = ()
    escalate_to: tuple[str, ...] = ()
    reminders: tuple[timedelta, ...] = ()


def read_rules(
    *,
    timeout: timedelta | str | float | None,
    on_timeout: str,
    approvers: Iterable[str],
    escalate_to: Iterable[str],
    reminders: Iterable[timedelta | str | float],
) -> ApprovalRules:
    """
    Return the rules as they were meant.

    Raises:
        InvalidOptionError: An option is not one, or makes no sense beside the others.
    """
    limit = None if timeout is None else duration.parse(timeout, option="timeout")
    if limit is not None and not limit:
        raise InvalidOptionError("timeout=0 leaves nobody time to decide; None waits for ever")
    known = ", ".join(f'"{it}"' for it in OnTimeout)
    if on_timeout not in [*OnTimeout]:
        raise InvalidOptionError(f"on_timeout={on_timeout!r} must be one of {known}")
    then = OnTimeout(on_timeout)
    others = names(escalate_to, option="escalate_to")
    before = tuple(duration.parse(it, option="reminders") for it in reminders)
    if limit is None and (before or then is not OnTimeout.REJECT):
        wrong = "reminders" if before else f'on_timeout="{then}"'
        raise InvalidOptionError(f'{wrong} needs a deadline: add timeout="2d"')
    if (then is OnTimeout.ESCALATE) != bool(others):
        raise InvalidOptionError(
            'on_timeout="escalate" and escalate_to=["…"] go together: what happens, and to whom'
        )
    late = [it for it in before if limit is not None and not timedelta() < it < limit]
    if late:
        raise InvalidOptionError(
            f"reminders={late[0]}: it is told so long before the deadline, and so must be shorter "
            f"than timeout={limit}"
        )
    return ApprovalRules(limit, then, names(approvers, option="approvers"), others, before)


def is_name(given: object) -> bool:
    """Whether it can be the name of somebody: a text that can be read and written."""
    return isinstance(given, str) and bool(given.strip()) and given.isprintable()


def names(given: Iterable[str], *, option: str) -> tuple[str, ...]:
    """
    Return names of people or groups.

    Raises:
        InvalidOptionError: It is one text, or not all are names.
    """
    listed = () if isinstance(given, str) else tuple(given)
    if isinstance(given, str) or not all(map(is_name, listed)):
        raise InvalidOptionError(f'{option}={given!r} must be a list of names: ["risk", "ann"]')
    return listed
