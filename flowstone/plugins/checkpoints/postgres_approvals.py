"""Approvals in the application's database: each step is an SQL function of ``sql/checkpoints``."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from flowstone.core.contracts.host import Host
from flowstone.core.errors import RegistrationError
from flowstone.core.json_value import JsonText
from flowstone.plugins.checkpoints.coordinator import CheckpointCoordinator
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

if TYPE_CHECKING:
    from flowstone.engine.store import PostgresStore

# Any: what a column holds is said by the SQL function, and by the record that it becomes.
Row = Mapping[str, Any]

LARGEST_ID = 2**63 - 1


class PostgresApprovals(CheckpointCoordinator):
    """Beside the runs, in the same schema."""

    contract_version: ClassVar[str] = "1.0.0"

    _store: "PostgresStore"

    async def open(self, app: Host) -> None:
        from flowstone.engine.store import PostgresStore

        if not isinstance(app.store, PostgresStore):
            kind = type(app.store).__qualname__
            raise RegistrationError(f"approvals are kept in Postgres, not beside a {kind}")
        self._store = app.store

    async def request(self, new: NewApproval) -> Approval:
        rules = new.rules
        found = await self._store.call(
            "checkpoints_request_v1",
            ("bigint", "integer", "text", "text", "text[]", "text", "text[]", "bigint", "bigint[]"),
            new.materialization_id,
            new.claim,
            new.message,
            new.value,
            list(rules.approvers),
            rules.on_timeout.value,
            list(rules.escalate_to),
            _milliseconds(rules.timeout),
            [_milliseconds(it) for it in rules.reminders],
        )
        if not found:
            raise ApprovalLostError(
                asset=new.asset, partition=new.partition, run_id=new.run_id, retryable=True
            )
        return _approval(found[0])

    async def find(self, approval_id: int) -> Approval | None:
        found = await self._store.call("checkpoints_get_v1", ("bigint",), approval_id)
        return _approval(found[0]) if found else None

    async def list(
        self,
        *,
        is_open: bool | None = True,
        asset: str | None = None,
        approver: str | None = None,
        limit: int = 100,
        before: int | None = None,
    ) -> Sequence[Approval]:
        found = await self._store.call(
            "checkpoints_list_v1",
            ("boolean", "text", "text", "bigint", "integer"),
            is_open,
            asset,
            approver,
            LARGEST_ID if before is None else before,
            limit,
        )
        return [_approval(row) for row in found]

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
        found = await self._store.call(
            "checkpoints_decide_v1",
            ("bigint", "text", "text", "text[]", "text", "text"),
            approval_id,
            verdict.value,
            by,
            [*groups],
            reason,
            value,
        )
        return _decided(approval_id, found, by, groups)

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
        found = await self._store.call(
            "checkpoints_escalate_v1",
            ("bigint", "text", "text[]", "text[]", "text", "bigint"),
            approval_id,
            by,
            [*groups],
            [*to],
            reason,
            _milliseconds(timeout),
        )
        return _decided(approval_id, found, by, groups)

    async def expire(self, approval_id: int) -> Approval:
        found = await self._store.call("checkpoints_expire_v1", ("bigint",), approval_id)
        if not found:
            raise ApprovalNotFoundError(approval_id)
        return _approval(found[0])

    async def of_run(self, run_id: int) -> Sequence[Approval]:
        found = await self._store.call("checkpoints_of_run_v1", ("bigint",), run_id)
        return [_approval(row) for row in found]

    async def take_notices(self, limit: int = 50) -> Sequence[Notice]:
        found = await self._store.call("checkpoints_take_notices_v1", ("integer",), limit)
        return [
            Notice(
                row["notice_id"],
                ApprovalEvent(row["event"]),
                _approval(row),
                row["attempt"],
                tuple(row["told"]),
            )
            for row in found
        ]

    async def settle_notice(self, notice_id: int, *, told: Iterable[str], is_done: bool) -> None:
        await self._store.call_value(
            "checkpoints_settle_notice_v1",
            ("bigint", "text[]", "boolean"),
            notice_id,
            [*told],
            is_done,
        )

    async def next_notice(self) -> timedelta | None:
        milliseconds = await self._store.call_value("checkpoints_next_notice_v1", ())
        return None if milliseconds is None else timedelta(milliseconds=milliseconds)


def _decided(approval_id: int, found: Sequence[Row], by: str, groups: Sequence[str]) -> Approval:
    if not found:
        raise ApprovalNotFoundError(approval_id)
    approval = _approval(found[0])
    match found[0]["outcome"]:
        case "closed":
            raise ApprovalClosedError(approval)
        case "forbidden":
            raise NotAnApproverError(approval, by, groups)
        case _:
            return approval


def _approval(row: Row) -> Approval:
    remaining = row["remaining_ms"]
    return Approval(
        id=row["id"],
        run_id=row["run_id"],
        asset=row["asset"],
        partition=row["partition"],
        status=ApprovalStatus(row["status"]),
        message=row["message"],
        value=row["value"],
        decided_value=row["decided_value"],
        approvers=tuple(row["approvers"]),
        requested_at=row["requested_at"],
        deadline_at=row["deadline_at"],
        remaining=None if remaining is None else timedelta(milliseconds=remaining),
        escalation_count=row["escalation_count"],
        escalated_by=row["escalated_by"],
        escalated_at=row["escalated_at"],
        decided_by=row["decided_by"],
        decided_at=row["decided_at"],
        reason=row["reason"] or "",
    )


def _milliseconds(given: timedelta | None) -> int | None:
    """Return whole milliseconds; a tiny one stays above zero."""
    return None if given is None else -(-given // timedelta(milliseconds=1))
