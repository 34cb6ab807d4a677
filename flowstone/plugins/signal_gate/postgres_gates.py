"""
Gates in tables beside the engine's: one SQL function a verb, in ``sql/signal_gate``.

What many do at once (a worker with hundreds of claims, a server with as many requests) shares
statements and commits: see `flowstone.engine.together`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta

from flowstone.core.contracts.host import Host
from flowstone.core.json_value import JsonText
from flowstone.engine.kept_in_tables import KeptInTables
from flowstone.engine.rows import Row, milliseconds
from flowstone.engine.together import Together
from flowstone.plugins.signal_gate.coordinator import (
    NOT_CHECKED,
    Answer,
    Answered,
    Gate,
    GateCoordinator,
    GateStatus,
    NewGate,
    TimeoutAction,
)
from flowstone.plugins.signal_gate.errors import (
    ClaimLostError,
    GateNotFoundError,
    TokenTakenError,
)

NEW_TYPES = (
    "bigint[]", "integer[]", "integer[]", "text[]", "bigint[]", "text[]", "integer[]", "text[]",
)  # fmt: skip
"""What the SQL function takes of new gates: a row each, in arrays that run in parallel."""


@dataclass(frozen=True, slots=True)
class _Signal:
    """A signal; the SQL function reads it by these names."""

    token: str
    payload: JsonText
    sender: JsonText | None
    fits: Mapping[str, bool]


class PostgresGates(KeptInTables, GateCoordinator):
    """Gates in the schema of the application's store."""

    async def open(self, app: Host) -> None:
        """Use the connections of the application's store."""
        await super().open(app)
        self._create = Together(self._create_many, size=lambda it: len(it.metadata))
        self._signal = Together(self._signal_many, size=lambda it: len(it.payload))
        self._time_out = Together(self._time_out_many)
        self._get = Together(self._get_many)

    async def create(self, gate: NewGate) -> Gate:
        opened = await self._create(gate)
        if opened["answer"] == "lost":
            raise ClaimLostError(gate.materialization_id)
        if opened["answer"] == "taken":
            raise TokenTakenError(gate.token)
        return _gate(opened)

    async def signal(
        self,
        token: str,
        payload: JsonText,
        *,
        sender: JsonText | None = None,
        fits: Mapping[str, bool] = NOT_CHECKED,
    ) -> Answered:
        row = await self._signal(_Signal(token, payload, sender, {**fits}))
        return Answered(Answer(row["answer"]), None if row["id"] is None else _gate(row))

    async def time_out(self, gate_id: int) -> Gate:
        return _found(gate_id, await self._time_out(gate_id))

    async def reopen(self, gate_id: int, claim: int) -> Gate | None:
        types = ("bigint", "integer")
        found = await self._store.call("signal_gate_reopen_v1", types, gate_id, claim)
        return _gate(found[0]) if found else None

    async def cancel(self, gate_id: int) -> Gate:
        found = await self._store.call("signal_gate_cancel_v1", ("bigint",), gate_id)
        if not found:
            raise GateNotFoundError(gate_id)
        return _gate(found[0])

    async def get(self, gate_id: int) -> Gate:
        return _found(gate_id, await self._get(gate_id))

    async def find(self, token: str) -> Gate | None:
        found = await self._store.call("signal_gate_find_v1", ("text",), token)
        return _gate(found[0]) if found else None

    async def of_materialization(self, materialization_id: int) -> Sequence[Gate]:
        found = await self._store.call(
            "signal_gate_of_materialization_v1", ("bigint",), materialization_id
        )
        return [_gate(row) for row in found]

    async def of_run(self, run_id: int) -> Sequence[Gate]:
        found = await self._store.call("signal_gate_of_run_v1", ("bigint",), run_id)
        return [_gate(row) for row in found]

    async def waiting(self, *, asset: str | None = None, limit: int = 100) -> Sequence[Gate]:
        found = await self._store.call("signal_gate_waiting_v1", ("text", "integer"), asset, limit)
        return [_gate(row) for row in found]

    async def prune(self, older: timedelta, *, limit: int = 1000) -> int:
        count: int = await self._store.call_value(
            "signal_gate_prune_v1", ("bigint", "integer"), milliseconds(older), limit
        )
        return count

    async def _create_many(self, gates: Sequence[NewGate], waits: bool) -> Sequence[Row | None]:
        return await self._ask("signal_gate_create_v1", NEW_TYPES, *_arrays(gates), waits)

    async def _signal_many(self, signals: Sequence[_Signal], waits: bool) -> Sequence[Row | None]:
        sent = json.dumps([asdict(it) for it in signals])
        return await self._ask("signal_gate_signal_v1", ("json",), sent, waits)

    async def _time_out_many(self, gates: Sequence[int], waits: bool) -> Sequence[Row | None]:
        return await self._ask("signal_gate_time_out_v1", ("bigint[]",), [*gates], waits)

    async def _get_many(self, gates: Sequence[int], waits: bool) -> Sequence[Row | None]:
        return await self._store.call("signal_gate_get_v1", ("bigint[]",), [*gates])


def _arrays(gates: Sequence[NewGate]) -> Sequence[Sequence[object]]:
    """Return new gates as the arrays of `NEW_TYPES`."""
    return (
        [it.materialization_id for it in gates],
        [it.claim for it in gates],
        [it.attempt for it in gates],
        [it.token for it in gates],
        [milliseconds(it.timeout) for it in gates],
        [it.timeout_action.value for it in gates],
        [it.max_timeout_retries for it in gates],
        [it.metadata for it in gates],
    )


def _found(gate_id: int, row: Row) -> Gate:
    if row["answer"] == "absent":
        raise GateNotFoundError(gate_id)
    return _gate(row)


def _gate(row: Row) -> Gate:
    remaining = row["remaining_ms"]
    return Gate(
        id=row["id"],
        materialization_id=row["materialization_id"],
        run_id=row["run_id"],
        asset=row["asset"],
        partition=row["partition"],
        attempt=row["attempt"],
        token=row["token"],
        status=GateStatus(row["status"]),
        opened_at=row["opened_at"],
        timeout_at=row["timeout_at"],
        remaining=None if remaining is None else timedelta(milliseconds=remaining),
        timeout_action=TimeoutAction(row["timeout_action"]),
        timeout_retries=row["timeout_retries"],
        max_timeout_retries=row["max_timeout_retries"],
        metadata=row["metadata"],
        signaled_at=row["signaled_at"],
        payload=row["payload"],
        sender=row["sender"],
        is_checked=row["is_checked"],
        ended_at=row["ended_at"],
        waited=timedelta(milliseconds=row["waited_ms"]),
        failures=tuple(row["failures"]),
    )
