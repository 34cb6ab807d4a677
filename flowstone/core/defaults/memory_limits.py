"""The part of the memory store that keeps the application's own limits."""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from flowstone.core.contracts.limits import LimitRecord, Limits, LimitValues, Taken
from flowstone.core.defaults.clock import Clock
from flowstone.core.defaults.memory_job_machine import JobMachine
from flowstone.core.errors import UnknownLimitError
from flowstone.core.status import Status
from flowstone.core.wakeups import Wakeups

AGAIN = timedelta(seconds=1)


@dataclass(slots=True)
class _Limit:
    values: LimitValues
    is_by_hand: bool
    holders: dict[int, tuple[int, int]] = field(default_factory=dict)
    uses: deque[datetime] = field(default_factory=deque)


class MemoryLimits(Limits):
    """Limits of this process; slots are held by the machine's rows."""

    _machine: JobMachine
    _clock: Clock
    _limits: dict[str, _Limit]
    _last_slot_id: int
    wakeups: Wakeups

    async def set_limits(self, limits: Mapping[str, LimitValues], *, by_code: bool) -> None:
        for name, values in limits.items():
            known = self._limits.get(name)
            if known is None:
                self._limits[name] = _Limit(values, not by_code)
            elif not (by_code and known.is_by_hand):
                known.values, known.is_by_hand = values, not by_code
            self.wakeups.publish(f"limit:{name}")

    async def take_limit(self, name: str, holder: tuple[int, int] | None) -> Taken:
        limit = self._limit(name)
        now = self._clock.now()
        self._forget(limit, now)
        slots, rate = limit.values.slots, limit.values.rate
        if holder is not None and slots is not None and len(limit.holders) >= slots:
            return Taken(AGAIN)
        if rate is not None and len(limit.uses) >= rate.count:
            return Taken(max(timedelta(milliseconds=1), limit.uses[0] + rate.per - now))
        if rate is not None:
            limit.uses.append(now)
        if holder is None or slots is None:
            return Taken(None)
        self._last_slot_id += 1
        limit.holders[self._last_slot_id] = holder
        return Taken(None, self._last_slot_id)

    async def give_back_slot(self, name: str, slot_id: int) -> bool:
        limit = self._limits.get(name)
        was_held = limit is not None and limit.holders.pop(slot_id, None) is not None
        self.wakeups.publish(f"limit:{name}")
        return was_held

    async def limits(self, name: str | None = None) -> Sequence[LimitRecord]:
        now = self._clock.now()
        records = []
        for known in sorted(self._limits if name is None else {name} & self._limits.keys()):
            limit = self._limits[known]
            self._forget(limit, now)
            records.append(
                LimitRecord(
                    known, limit.values, limit.is_by_hand, len(limit.holders), len(limit.uses)
                )
            )
        return records

    async def reset_limit(self, name: str) -> bool:
        limit = self._limits.get(name)
        if limit is None:
            return False
        limit.holders.clear()
        limit.uses.clear()
        self.wakeups.publish(f"limit:{name}")
        return True

    async def remove_limit(self, name: str) -> bool:
        self.wakeups.publish(f"limit:{name}")
        return self._limits.pop(name, None) is not None

    def _limit(self, name: str) -> _Limit:
        limit = self._limits.get(name)
        if limit is None:
            raise UnknownLimitError(name, self._limits)
        return limit

    def _forget(self, limit: _Limit, now: datetime) -> None:
        """Free what nobody holds any longer, and forget uses that are a period ago."""
        for slot_id, (id_, claim) in list(limit.holders.items()):
            row = self._machine.rows.get(id_)
            if row is None or row.status is not Status.RUNNING or row.claim != claim:
                del limit.holders[slot_id]
        rate = limit.values.rate
        while limit.uses and (rate is None or limit.uses[0] + rate.per <= now):
            limit.uses.popleft()
