"""Materializations that wait for others themselves, on Postgres."""

from collections.abc import Sequence

from flowstone.core.contracts.awaiting import Awaited, Awaiting
from flowstone.core.contracts.store_records import Key
from flowstone.core.status import Status
from flowstone.engine.rows import Row
from flowstone.engine.store_calls import StoreCalls


class PostgresAwaiting(StoreCalls, Awaiting):
    """Steps of ``sql/core/functions/86_give_up.sql``."""

    async def awaited(self, materialization_id: int) -> Sequence[Awaited]:
        return _read(await self.call("flowstone_awaited_v1", ("bigint",), materialization_id))

    async def followed(self, materialization_id: int) -> Sequence[Awaited]:
        return _read(await self.call("flowstone_followed_v1", ("bigint",), materialization_id))

    async def give_up(
        self, materialization_id: int, claim: int, given_up: Sequence[int], reason: str
    ) -> int:
        count: int = await self.call_value(
            "flowstone_give_up_v1",
            ("bigint", "integer", "bigint[]", "text"),
            materialization_id,
            claim,
            list(given_up),
            reason,
        )
        return count


def _read(found: Sequence[Row]) -> Sequence[Awaited]:
    return [
        Awaited(row["id"], Key(row["asset"], row["partition"]), Status(row["status"]), row["error"])
        for row in found
    ]
