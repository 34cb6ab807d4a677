"""Approvals of an application without a database, beside the runs of its store in memory."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import islice
from typing import ClassVar

from flowstone.core.contracts.host import Host
from flowstone.core.defaults.attached_rows import AttachedRows
from flowstone.core.defaults.memory_store import MemoryStore
from flowstone.core.errors import RegistrationError
from flowstone.core.json_value import JsonText
from flowstone.plugins.checkpoints.coordinator import TOPIC, CheckpointCoordinator
from flowstone.plugins.checkpoints.errors import (
    ApprovalClosedError,
    ApprovalLostError,
    ApprovalNotFoundError,
    NotAnApproverError,
)
from flowstone.plugins.checkpoints.records import (
    Approval,
    ApprovalEvent,
    ApprovalStatus,
    NewApproval,
    Notice,
    Verdict,
)
from flowstone.plugins.checkpoints.rules import ApprovalRules, OnTimeout

LONGEST_PAUSE = timedelta(hours=1)
FIRST_PAUSE = timedelta(seconds=5)

NOTICES_EACH = 1_000_000
"""Numbers of notices that an approval has for itself."""

FINAL = {Verdict.APPROVE: ApprovalStatus.APPROVED, Verdict.REJECT: ApprovalStatus.REJECTED}


@dataclass(slots=True)
class _Due:
    """A notice that is to be told."""

    id: int
    event: ApprovalEvent
    due_at: datetime
    attempts: int = 0
    told: tuple[str, ...] = ()


@dataclass(slots=True)
class _Row:
    """What is kept of a materialization, and goes with it."""

    approval: Approval
    rules: ApprovalRules
    noted: int = 0
    notices: dict[int, _Due] = field(default_factory=dict)


class ApprovalRows(AttachedRows[_Row]):
    """Approvals, each gone with its materialization."""


class MemoryApprovals(CheckpointCoordinator):
    """
    Rows that belong to the store: applications that share it share them.

    No method awaits anything that takes time, so each is one atomic step.
    """

    contract_version: ClassVar[str] = "1.0.0"

    _store: MemoryStore
    _rows: ApprovalRows

    async def open(self, app: Host) -> None:
        if not isinstance(app.store, MemoryStore):
            kind = type(app.store).__qualname__
            raise RegistrationError(f"approvals are kept in memory, not beside a {kind}")
        self._store = app.store
        self._rows = app.store.attached(ApprovalRows)

    async def request(self, new: NewApproval) -> Approval:
        attempt = (new.materialization_id, new.claim)
        if attempt not in await self._store.kept([attempt]):
            raise ApprovalLostError(
                asset=new.asset, partition=new.partition, run_id=new.run_id, retryable=True
            )
        row = self._rows.get(new.materialization_id)
        if row is None:
            row = self._rows[new.materialization_id] = self._new_row(new)
            self._note(row, ApprovalEvent.REQUESTED)
            self._set_reminders(row)
        return self._seen(row)

    async def find(self, approval_id: int) -> Approval | None:
        row = self._rows.get(approval_id)
        return None if row is None else self._seen(row)

    async def list(
        self,
        *,
        is_open: bool | None = True,
        asset: str | None = None,
        approver: str | None = None,
        limit: int = 100,
        before: int | None = None,
    ) -> Sequence[Approval]:
        rows = sorted(self._rows.values(), key=lambda row: row.approval.id, reverse=True)
        found = (
            it
            for it in map(self._seen, rows)
            if (is_open is None or it.status.is_open is is_open)
            and (asset is None or it.asset == asset)
            and (approver is None or not it.approvers or approver in it.approvers)
            and (before is None or it.id < before)
        )
        return [*islice(found, limit)]

    async def decide(
        self,
        approval_id: int,
        verdict: Verdict,
        *,
        by: str,
        groups: Sequence[str] = (),
        reason: str = "",
        value: JsonText | None = None,
    ) -> Approval:
        status = FINAL[verdict] if value is None else ApprovalStatus.MODIFIED
        row = self._row(approval_id)
        approval = self._after_deadline(row)
        if not approval.status.is_open:
            said = (approval.status, approval.decided_by, approval.decided_value)
            if said == (status, by, value):
                return approval
            raise ApprovalClosedError(approval)
        _check_may_decide(approval, by, groups)
        row.approval = replace(
            approval,
            status=status,
            decided_by=by,
            decided_at=self._now(),
            remaining=None,
            reason=reason,
            decided_value=value,
        )
        return await self._go_on(row, ApprovalEvent(status.value))

    async def escalate(
        self,
        approval_id: int,
        *,
        by: str,
        to: Sequence[str],
        groups: Sequence[str] = (),
        reason: str = "",
        timeout: timedelta | None = None,
    ) -> Approval:
        row = self._row(approval_id)
        approval = self._after_deadline(row)
        if not approval.status.is_open:
            raise ApprovalClosedError(approval)
        if (approval.escalated_by, approval.approvers) == (by, tuple(to)):
            return approval
        _check_may_decide(approval, by, groups)
        limit = row.rules.timeout if timeout is None else timeout
        self._pass_on(row, tuple(to), limit, by=by, reason=reason)
        return await self._go_on(row, ApprovalEvent.ESCALATED)

    async def expire(self, approval_id: int) -> Approval:
        return self._after_deadline(self._row(approval_id))

    async def of_run(self, run_id: int) -> Sequence[Approval]:
        rows = [row for row in self._rows.values() if row.approval.run_id == run_id]
        return [self._seen(row) for row in rows]

    async def take_notices(self, limit: int = 50) -> Sequence[Notice]:
        now = self._now()
        due = sorted(
            (
                (it.due_at, it.id, row, it)
                for row in self._noted()
                for it in row.notices.values()
                if it.due_at <= now
            ),
            key=lambda it: it[:2],
        )
        taken = []
        for _, id_, row, notice in due[:limit]:
            notice.due_at = now + min(FIRST_PAUSE * 2**notice.attempts, LONGEST_PAUSE)
            notice.attempts += 1
            seen = self._seen(row)
            taken.append(Notice(id_, notice.event, seen, notice.attempts, notice.told))
        return taken

    async def settle_notice(self, notice_id: int, *, told: Iterable[str], is_done: bool) -> None:
        row = self._rows.get(notice_id // NOTICES_EACH)
        notice = row and row.notices.get(notice_id)
        if row and notice:
            notice.told = tuple(told)
            if is_done:
                del row.notices[notice_id]

    async def next_notice(self) -> timedelta | None:
        due = [it.due_at for row in self._noted() for it in row.notices.values()]
        return max(timedelta(), min(due) - self._now()) if due else None

    def _noted(self) -> Sequence[_Row]:
        """Return the rows that have notices; those of what has ended otherwise say so now."""
        rows = [row for row in self._rows.values() if row.notices]
        for row in rows:
            self._seen(row)
        return rows

    def _now(self) -> datetime:
        return self._store.clock.now()

    def _new_row(self, new: NewApproval) -> _Row:
        now, rules = self._now(), new.rules
        approval = Approval(
            id=new.materialization_id,
            run_id=new.run_id,
            asset=new.asset,
            partition=new.partition,
            status=ApprovalStatus.PENDING,
            message=new.message,
            value=new.value,
            decided_value=None,
            approvers=rules.approvers,
            requested_at=now,
            deadline_at=None if rules.timeout is None else now + rules.timeout,
            remaining=rules.timeout,
            escalation_count=0,
            escalated_by=None,
            escalated_at=None,
            decided_by=None,
            decided_at=None,
            reason="",
        )
        return _Row(approval, rules)

    def _row(self, approval_id: int) -> _Row:
        row = self._rows.get(approval_id)
        if row is None:
            raise ApprovalNotFoundError(approval_id)
        return row

    def _seen(self, row: _Row) -> Approval:
        """Return the approval as it stands: it is closed when its materialization has ended."""
        approval = row.approval
        if approval.status.is_open:
            status = self._store.status_of(approval.id)
            if status is None or status.is_terminal:
                self._close(row, ApprovalStatus.CANCELLED, "its materialization has ended")
            elif approval.deadline_at is not None:
                return replace(approval, remaining=approval.deadline_at - self._now())
        return row.approval

    def _after_deadline(self, row: _Row) -> Approval:
        """Do what a deadline says that has passed."""
        approval = self._seen(row)
        passed = approval.deadline_at is not None and approval.deadline_at <= self._now()
        if not approval.status.is_open or not passed:
            return approval
        rules = row.rules
        if rules.on_timeout is OnTimeout.ESCALATE and approval.approvers != rules.escalate_to:
            self._pass_on(row, rules.escalate_to, rules.timeout, by=None, reason=approval.reason)
            self._note(row, ApprovalEvent.ESCALATED)
            self._set_reminders(row)
        elif rules.on_timeout is OnTimeout.APPROVE:
            self._close(row, ApprovalStatus.APPROVED, "nobody decided in time")
        else:
            self._close(row, ApprovalStatus.EXPIRED, "nobody decided in time")
        return self._seen(row)

    def _pass_on(
        self,
        row: _Row,
        to: tuple[str, ...],
        timeout: timedelta | None,
        *,
        by: str | None,
        reason: str,
    ) -> None:
        now = self._now()
        row.approval = replace(
            row.approval,
            status=ApprovalStatus.ESCALATED,
            approvers=to,
            escalation_count=row.approval.escalation_count + 1,
            escalated_by=by,
            escalated_at=now,
            deadline_at=None if timeout is None else now + timeout,
            remaining=timeout,
            reason=reason,
        )

    def _close(self, row: _Row, status: ApprovalStatus, reason: str) -> None:
        row.approval = replace(
            row.approval, status=status, decided_at=self._now(), remaining=None, reason=reason
        )
        self._note(row, ApprovalEvent(status.value))
        self._set_reminders(row)

    async def _go_on(self, row: _Row, event: ApprovalEvent) -> Approval:
        self._note(row, event)
        self._set_reminders(row)
        approval = row.approval
        await self._store.wake(approval.id, "null")
        return self._seen(row)

    def _note(self, row: _Row, event: ApprovalEvent, due_at: datetime | None = None) -> None:
        row.noted += 1
        id_ = row.approval.id * NOTICES_EACH + row.noted
        row.notices[id_] = _Due(id_, event, due_at or self._now())
        self._store.wakeups.publish(TOPIC)

    def _set_reminders(self, row: _Row) -> None:
        """Note when to remind, in the place of what was noted before."""
        kept = {it.id: it for it in row.notices.values() if it.event is not ApprovalEvent.REMINDER}
        row.notices = kept
        deadline = row.approval.deadline_at
        if deadline is not None and row.approval.status.is_open:
            moments = [deadline - before for before in row.rules.reminders]
            for moment in moments:
                if moment > self._now():
                    self._note(row, ApprovalEvent.REMINDER, moment)


def _check_may_decide(approval: Approval, by: str, groups: Sequence[str]) -> None:
    if approval.approvers and not {by, *groups} & {*approval.approvers}:
        raise NotAnApproverError(approval, by, groups)
