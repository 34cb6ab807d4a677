"""Gates in memory: the rows lie with the application's store, beside its materializations."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count

from flowstone.core.contracts.host import Host
from flowstone.core.defaults.attached_rows import AttachedRows
from flowstone.core.defaults.memory_rows import Row
from flowstone.core.defaults.memory_store import MemoryStore
from flowstone.core.json_value import JsonText, JsonValue
from flowstone.core.status import Status
from flowstone.plugins.signal_gate.coordinator import (
    NOT_CHECKED,
    Answer,
    Answered,
    Gate,
    GateCoordinator,
    GateStatus,
    NewGate,
    TimeoutAction,
    retry_wait,
)
from flowstone.plugins.signal_gate.errors import (
    ClaimLostError,
    GateNotFoundError,
    TokenTakenError,
)


@dataclass(slots=True, eq=False)
class _Row:
    id: int
    new: NewGate
    run_id: int
    asset: str
    partition: str
    opened_at: datetime
    timeout_at: datetime | None
    status: GateStatus = GateStatus.WAITING
    timeout_retries: int = 0
    signaled_at: datetime | None = None
    payload: JsonText | None = None
    sender: JsonText | None = None
    is_checked: bool = False
    ended_at: datetime | None = None

    @property
    def has_retry_left(self) -> bool:
        is_wanted = self.new.timeout_action is TimeoutAction.RETRY
        return is_wanted and self.timeout_retries < self.new.max_timeout_retries


@dataclass(slots=True)
class _Early:
    received_at: datetime
    payload: JsonText
    sender: JsonText | None


class GateRows(AttachedRows[list[_Row]]):
    """The gates of each materialization, and what finds them."""

    def __init__(self) -> None:
        super().__init__()
        self.ids = count(1)
        self.by_id: dict[int, _Row] = {}
        self.by_token: dict[str, _Row] = {}
        self.early: dict[str, _Early] = {}

    def forget(self, materialization_id: int) -> None:
        """Drop what a materialization has had."""
        for row in self.pop(materialization_id, ()):
            del self.by_id[row.id]
            if self.by_token.get(row.new.token) is row:
                del self.by_token[row.new.token]


class MemoryGates(GateCoordinator):
    """Gates of a store in memory; every verb is one step, as nothing is awaited within it."""

    async def open(self, app: Host) -> None:
        """Find the rows that the store's applications share."""
        await super().open(app)
        assert isinstance(app.store, MemoryStore), "chosen for a store in memory"
        self._store = app.store
        self._rows = app.store.attached(GateRows)

    async def create(self, gate: NewGate) -> Gate:
        of_asset = self._claimed(gate.materialization_id, gate.claim)
        if of_asset is None:
            raise ClaimLostError(gate.materialization_id)
        now = self._now()
        known = self._rows.by_token.get(gate.token)
        if known is not None:
            is_same = known.new.materialization_id == gate.materialization_id
            status = self._status(known)
            # Signaled before it was waited for: this is a repeat of what opened it.
            is_kept = status is GateStatus.SIGNALED and of_asset.early_wake is not None
            if is_same and (status is GateStatus.WAITING or is_kept):
                return self._shown(known)
            if status is GateStatus.WAITING or (is_same and status is GateStatus.SIGNALED):
                raise TokenTakenError(gate.token)
        for earlier in self._rows.get(gate.materialization_id, ()):
            if earlier.status is GateStatus.WAITING:
                earlier.status, earlier.ended_at = GateStatus.CANCELLED, now
        row = _Row(
            next(self._rows.ids),
            gate,
            of_asset.run.id,
            of_asset.key.asset,
            of_asset.key.partition,
            now,
            None if gate.timeout is None else now + gate.timeout,
        )
        self._rows.setdefault(gate.materialization_id, []).append(row)
        self._rows.by_id[row.id] = self._rows.by_token[gate.token] = row
        early = self._rows.early.pop(gate.token, None)
        if early is not None:
            row.status, row.ended_at = GateStatus.SIGNALED, now
            row.signaled_at, row.payload, row.sender = (
                early.received_at,
                early.payload,
                early.sender,
            )
            await self._store.wake(gate.materialization_id, "null")
        return self._shown(row)

    async def signal(
        self,
        token: str,
        payload: JsonText,
        *,
        sender: JsonText | None = None,
        fits: Mapping[str, bool] = NOT_CHECKED,
    ) -> Answered:
        now = self._now()
        row = self._rows.by_token.get(token)
        if row is None:
            kept = self._rows.early.setdefault(token, _Early(now, payload, sender))
            is_same = _is_same(json.loads(kept.payload), json.loads(payload))
            return Answered(Answer.KEPT if is_same else Answer.ALREADY_SIGNALED, None)
        match self._status(row):
            case GateStatus.WAITING if self._is_late(row, now) and not row.has_retry_left:
                answer = Answer.EXPIRED
            case GateStatus.WAITING if not fits.get(row.asset, True):
                answer = Answer.MISFIT
            case GateStatus.WAITING:
                row.status, row.signaled_at, row.ended_at = GateStatus.SIGNALED, now, now
                row.payload, row.sender, row.is_checked = payload, sender, row.asset in fits
                await self._store.wake(row.new.materialization_id, "null")
                answer = Answer.ACCEPTED
            case GateStatus.SIGNALED:
                is_same = _is_same(json.loads(row.payload or "null"), json.loads(payload))
                answer = Answer.REPEATED if is_same else Answer.ALREADY_SIGNALED
            case GateStatus.TIMEOUT:
                answer = Answer.EXPIRED
            case _:
                answer = Answer.CANCELLED
        return Answered(answer, self._shown(row))

    async def time_out(self, gate_id: int) -> Gate:
        row, now = self._row(gate_id), self._now()
        if self._status(row) is GateStatus.WAITING and self._is_late(row, now):
            if row.has_retry_left:
                row.timeout_at = now + retry_wait(row.timeout_retries)
                row.timeout_retries += 1
            else:
                row.status, row.ended_at = GateStatus.TIMEOUT, now
        return self._shown(row)

    async def reopen(self, gate_id: int, claim: int) -> Gate | None:
        row = self._row(gate_id)
        is_held = self._claimed(row.new.materialization_id, claim) is not None
        if row.status is not GateStatus.SIGNALED or row.is_checked or not is_held:
            return None
        row.status, row.signaled_at, row.ended_at = GateStatus.WAITING, None, None
        row.payload = row.sender = None
        return self._shown(row)

    async def cancel(self, gate_id: int) -> Gate:
        row = self._row(gate_id)
        if self._status(row) is GateStatus.WAITING:
            row.status, row.ended_at = GateStatus.CANCELLED, self._now()
            await self._store.wake(row.new.materialization_id, "null")
        return self._shown(row)

    async def get(self, gate_id: int) -> Gate:
        return self._shown(self._row(gate_id))

    async def find(self, token: str) -> Gate | None:
        row = self._rows.by_token.get(token)
        return None if row is None else self._shown(row)

    async def of_materialization(self, materialization_id: int) -> Sequence[Gate]:
        rows = self._rows.get(materialization_id, [])
        return [self._shown(row) for row in reversed(rows)]

    async def of_run(self, run_id: int) -> Sequence[Gate]:
        rows = [it for it in self._rows.by_id.values() if it.run_id == run_id]
        return [self._shown(row) for row in sorted(rows, key=lambda it: it.id)]

    async def waiting(self, *, asset: str | None = None, limit: int = 100) -> Sequence[Gate]:
        rows = [it for it in self._open() if asset is None or it.asset == asset]
        rows.sort(key=lambda it: (it.timeout_at is None, it.timeout_at or it.opened_at, it.id))
        return [self._shown(row) for row in rows[:limit]]

    async def prune(self, older: timedelta, *, limit: int = 1000) -> int:
        before = self._now() - older
        old = [token for token, it in self._rows.early.items() if it.received_at < before][:limit]
        for token in old:
            del self._rows.early[token]
        return len(old)

    def _open(self) -> Iterator[_Row]:
        for row in self._rows.by_id.values():
            if self._status(row) is GateStatus.WAITING:
                yield row

    def _row(self, gate_id: int) -> _Row:
        try:
            return self._rows.by_id[gate_id]
        except KeyError:
            raise GateNotFoundError(gate_id) from None

    def _status(self, row: _Row) -> GateStatus:
        """Return how it stands, and mind that its materialization may have ended meanwhile."""
        if row.status is GateStatus.WAITING:
            of_asset = self._store.row(row.new.materialization_id)
            if of_asset is None or of_asset.status.is_terminal:
                row.status, row.ended_at = GateStatus.CANCELLED, self._now()
        return row.status

    def _claimed(self, materialization_id: int, claim: int) -> Row | None:
        row = self._store.row(materialization_id)
        is_held = row is not None and row.status is Status.RUNNING and row.claim == claim
        return row if is_held else None

    def _failures(self, row: _Row) -> Sequence[str]:
        of_asset = self._store.row(row.new.materialization_id)
        failed = [] if of_asset is None else of_asset.failed_attempts
        since = [it for it in failed if it.attempt >= row.new.attempt]
        return tuple(str(json.loads(it.error).get("code", "")) for it in since)

    def _is_late(self, row: _Row, now: datetime) -> bool:
        return row.timeout_at is not None and row.timeout_at <= now

    def _now(self) -> datetime:
        return self._store.clock.now()

    def _shown(self, row: _Row) -> Gate:
        status, now, new = self._status(row), self._now(), row.new
        remaining = None if row.timeout_at is None else max(timedelta(), row.timeout_at - now)
        return Gate(
            id=row.id,
            materialization_id=new.materialization_id,
            run_id=row.run_id,
            asset=row.asset,
            partition=row.partition,
            attempt=new.attempt,
            token=new.token,
            status=status,
            opened_at=row.opened_at,
            timeout_at=row.timeout_at,
            remaining=remaining,
            timeout_action=new.timeout_action,
            timeout_retries=row.timeout_retries,
            max_timeout_retries=new.max_timeout_retries,
            metadata=new.metadata,
            signaled_at=row.signaled_at,
            payload=row.payload,
            sender=row.sender,
            is_checked=row.is_checked,
            ended_at=row.ended_at,
            waited=(row.ended_at or now) - row.opened_at,
            failures=self._failures(row),
        )


def _is_same(one: JsonValue, other: JsonValue) -> bool:
    """Compare as JSON, where true is not 1, and 1.0 is."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_is_same(one[it], other[it]) for it in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_is_same, one, other))
    return one == other
