"""Assistants on Postgres."""

from collections.abc import Sequence

from flowstone.core.contracts.assistants import Assistants
from flowstone.core.json_value import JsonText
from flowstone.engine.store_calls import StoreCalls


class PostgresAssistants(StoreCalls, Assistants):
    """The part of the store that keeps them; see ``sql/core/functions/46_assistants.sql``."""

    async def add_assistants(
        self,
        materialization_id: int,
        arguments: Sequence[JsonText],
        *,
        queue: str | None = None,
        priority: int | None = None,
    ) -> Sequence[int]:
        types = ("bigint", "text[]", "text", "integer")
        ids: Sequence[int] = await self.call_value(
            "flowstone_add_assistants_v1",
            types,
            materialization_id,
            list(arguments),
            queue,
            priority,
        )
        return ids

    async def dismiss_assistants(self, materialization_id: int) -> int:
        count: int = await self.call_value(
            "flowstone_dismiss_assistants_v1", ("bigint",), materialization_id
        )
        return count
