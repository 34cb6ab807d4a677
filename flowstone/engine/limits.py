"""The part of the Postgres store that keeps the application's own limits."""

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta

from flowstone.core.contracts.limits import LimitRecord, Limits, LimitValues, Taken
from flowstone.core.rate import Rate
from flowstone.engine.rows import milliseconds
from flowstone.engine.store_calls import StoreCalls


class PostgresLimits(StoreCalls, Limits):
    """Limits in the tables of one schema; what happens is in ``sql/core``."""

    async def set_limits(self, limits: Mapping[str, LimitValues], *, by_code: bool) -> None:
        said = [
            {
                "name": name,
                "slots": values.slots,
                "rate_count": values.rate.count if values.rate else None,
                "rate_ms": milliseconds(values.rate.per) if values.rate else None,
            }
            for name, values in limits.items()
        ]
        if said:
            text = json.dumps(said)
            await self.call("flowstone_set_limits_v1", ("json", "boolean"), text, by_code)

    async def take_limit(self, name: str, holder: tuple[int, int] | None) -> Taken:
        id_, claim = holder or (None, None)
        types = ("text", "bigint", "integer")
        (row,) = await self.call("flowstone_take_limit_v1", types, name, id_, claim)
        wait = row["wait_ms"]
        return Taken(None if wait is None else timedelta(milliseconds=wait), row["slot_id"])

    async def give_back_slot(self, name: str, slot_id: int) -> bool:
        types = ("text", "bigint")
        return bool(await self.call_value("flowstone_give_back_slot_v1", types, name, slot_id))

    async def limits(self, name: str | None = None) -> Sequence[LimitRecord]:
        return [
            LimitRecord(
                row["name"],
                LimitValues(row["slots"], _rate(row["rate_count"], row["rate_ms"])),
                row["is_by_hand"],
                row["taken"],
                row["used"],
            )
            for row in await self.call("flowstone_limits_v1", ("text",), name)
        ]

    async def reset_limit(self, name: str) -> bool:
        return bool(await self.call_value("flowstone_reset_limit_v1", ("text",), name))

    async def remove_limit(self, name: str) -> bool:
        return bool(await self.call_value("flowstone_remove_limit_v1", ("text",), name))


def _rate(count: int | None, per_ms: int | None) -> Rate | None:
    if count is None or per_ms is None:
        return None
    return Rate(count, timedelta(milliseconds=per_ms))
