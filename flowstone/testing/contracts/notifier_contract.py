"""What every notifier has to do."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from flowstone.core.contract_version import check_implementation
from flowstone.plugins.checkpoints import (
    Approval,
    ApprovalEvent,
    ApprovalStatus,
    Notice,
    Notifier,
)


class NotifierContract:
    """Subclass it with the fixture ``notifier``, whose other end takes what it is told."""

    @pytest.fixture
    async def notifier(self) -> Notifier:
        """Give the notifier."""
        raise NotImplementedError(f"{type(self).__name__} has to define the fixture `notifier`")

    def test_it_is_a_notifier_of_this_contract(self, notifier: Notifier) -> None:
        check_implementation(notifier, Notifier, subject="the notifier")

    def test_its_name_is_printable_and_stays(self, notifier: Notifier) -> None:
        assert notifier.name
        assert notifier.name.isprintable()
        assert notifier.name == notifier.name

    @pytest.mark.parametrize("event", ApprovalEvent)
    async def test_it_takes_whatever_can_happen(
        self, notifier: Notifier, event: ApprovalEvent
    ) -> None:
        await notifier.notify(notice(event))

    async def test_it_takes_a_notice_twice(self, notifier: Notifier) -> None:
        await notifier.notify(notice(ApprovalEvent.REQUESTED))
        await notifier.notify(notice(ApprovalEvent.REQUESTED, attempt=2))

    async def test_it_takes_texts_and_values_of_any_kind(self, notifier: Notifier) -> None:
        await notifier.notify(
            notice(
                ApprovalEvent.REJECTED,
                message="größer\nals \x1b[31m%s {} ☃",
                value='{"deep": [1.5, null, "\\u0001"]}',
                reason="nein %d",
            )
        )

    async def test_it_takes_several_at_once(self, notifier: Notifier) -> None:
        await asyncio.gather(*(notifier.notify(notice(it)) for it in ApprovalEvent))


def notice(
    event: ApprovalEvent,
    *,
    attempt: int = 1,
    message: str = "large",
    value: str = '{"total": 7}',
    reason: str = "",
) -> Notice:
    """Return a notice of this event."""
    at = datetime(2030, 1, 1, 12, tzinfo=UTC)
    known = [it.value for it in ApprovalStatus]
    status = ApprovalStatus(event.value) if event.value in known else ApprovalStatus.PENDING
    is_decided = not status.is_open
    return Notice(
        42,
        event,
        Approval(
            id=7,
            run_id=3,
            asset="desk.trade",
            partition="d:2030-01-01",
            status=status,
            message=message,
            value=value,
            decided_value='{"total": 5}' if status is ApprovalStatus.MODIFIED else None,
            approvers=("risk",),
            requested_at=at,
            deadline_at=at + timedelta(days=2),
            remaining=timedelta(days=2),
            escalation_count=0,
            escalated_by=None,
            escalated_at=None,
            decided_by="ann" if is_decided else None,
            decided_at=at + timedelta(hours=1) if is_decided else None,
            reason=reason,
        ),
        attempt,
    )
