"""
Approvals in the application's database: each step is an SQL function of ``sql/checkpoints``.

What many do at once (a worker with hundreds of claims, a desk where everybody decides) shares
statements and commits: see `flowstone.engine.together`.
"""

import json
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import ClassVar, TypeVar

from flowstone.core.contracts.host import Host
from flowstone.core.json_value import JsonText
from flowstone.engine.kept_in_tables import KeptInTables
from flowstone.engine.rows import Row, milliseconds
from flowstone.engine.together import Together
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

Asked = TypeVar("Asked")

LARGEST_ID = 2**63 - 1
ABSENT: Row = {"answer": "absent"}


@dataclass(frozen=True, slots=True)
class _Said:
    """A decision; the SQL function reads it by these names."""

    id: int
    verdict: str
    by_whom: str
    of_groups: Sequence[str]
    reason: str
    value: JsonText | None


@dataclass(frozen=True, slots=True)
class _Settled:
    """A notice that was told; likewise."""

    id: int
    told: Sequence[str]
    is_done: bool


class PostgresApprovals(KeptInTables, CheckpointCoordinator):
    """Beside the runs, in the same schema."""

    contract_version: ClassVar[str] = "1.0.0"

    _request: Together[NewApproval, Row]
    _decide: Together[_Said, Row]
    _settle: Together[_Settled, Row]
    _expire: Together[int, Row]

    async def open(self, app: Host) -> None:
        await super().open(app)
        self._request = Together(
            self._asks("checkpoints_request_v1", "json", _asked_for), size=lambda it: len(it.value)
        )
        self._decide = Together(
            self._asks("checkpoints_decide_v1", "json", _said),
            size=lambda it: len(it.value or ""),
        )
        self._settle = Together(self._asks("checkpoints_settle_notices_v1", "json", _said))
        self._expire = Together(self._asks("checkpoints_expire_v1", "bigint[]", list))

    async def request(self, new: NewApproval) -> Approval:
        found = await self._request(new)
        if found["answer"] == "lost":
            raise ApprovalLostError(
                asset=new.asset, partition=new.partition, run_id=new.run_id, retryable=True
            )
        return _approval(found)

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
        found = await self._decide(_Said(approval_id, verdict.value, by, groups, reason, value))
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
            milliseconds(timeout),
        )
        return _decided(approval_id, found[0] if found else ABSENT, by, groups)

    async def expire(self, approval_id: int) -> Approval:
        found = await self._expire(approval_id)
        if found["answer"] == "absent":
            raise ApprovalNotFoundError(approval_id)
        return _approval(found)

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
        await self._settle(_Settled(notice_id, [*told], is_done))

    async def next_notice(self) -> timedelta | None:
        due_ms = await self._store.call_value("checkpoints_next_notice_v1", ())
        return None if due_ms is None else timedelta(milliseconds=due_ms)

    def _asks(
        self, function: str, type_: str, encode: Callable[[Sequence[Asked]], object]
    ) -> Callable[[Sequence[Asked], bool], Awaitable[Sequence[Row | None]]]:
        async def ask(asked: Sequence[Asked], waits: bool) -> Sequence[Row | None]:
            return await self._ask(function, (type_,), encode(asked), waits)

        return ask


def _asked_for(new: Sequence[NewApproval]) -> str:
    return json.dumps(
        [
            {
                "id": it.materialization_id,
                "claim": it.claim,
                "message": it.message,
                "value": it.value,
                "approvers": it.rules.approvers,
                "on_timeout": it.rules.on_timeout,
                "escalate_to": it.rules.escalate_to,
                "timeout_ms": milliseconds(it.rules.timeout),
                "reminders_ms": [milliseconds(before) for before in it.rules.reminders],
            }
            for it in new
        ]
    )


def _said(said: Sequence[_Said | _Settled]) -> str:
    return json.dumps([asdict(it) for it in said])


def _decided(approval_id: int, found: Row, by: str, groups: Sequence[str]) -> Approval:
    match found["answer"]:
        case "absent":
            raise ApprovalNotFoundError(approval_id)
        case "closed":
            raise ApprovalClosedError(_approval(found))
        case "forbidden":
            raise NotAnApproverError(_approval(found), by, groups)
        case _:
            return _approval(found)


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
